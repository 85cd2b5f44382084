//! The terminal of the person who runs `ccb`, from which answers are read line by line. It is
//! `/dev/tty`, so it works while stdin and stdout are pipes.
//!
//! The terminal stays in its normal mode: lines can be edited, and Ctrl-C and Ctrl-Z work as usual.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::getpgrp;
use rustix::termios::{QueueSelector, tcflush, tcgetpgrp, tcgetwinsize};
use tokio::net::unix::pipe;

use crate::question::Size;

/// The pause before `ccb` checks again whether it has the terminal. A job in the background has
/// not, and is stopped if it reads.
const FOREGROUND_PAUSE: Duration = Duration::from_millis(200);
/// The longest line. The kernel's own limit is 4096 bytes; a longer text is another program's.
const LINE_BYTES: usize = 16 * 1024;

/// A terminal that a person types on.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The device. tokio's type for the end of a pipe reads any device that can be polled.
    device: pipe::Receiver,
    /// The bytes that were read and have no newline yet.
    line: Vec<u8>,
}

impl Terminal {
    /// Opens the terminal. `None` if the process has none, or if stderr is redirected, so that the
    /// person would not see the questions.
    pub(super) fn open() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        // Without NONBLOCK, one read could block the only thread.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()?;
        let device = pipe::Receiver::from_file_unchecked(File::from(device)).ok()?;
        Some(Self {
            device,
            line: Vec::new(),
        })
    }

    /// Returns the present size of the terminal.
    pub(super) fn size(&self) -> Size {
        match tcgetwinsize(&self.device) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
                columns: size.ws_col.into(),
                rows: size.ws_row.into(),
            },
            _ => Size::default(),
        }
    }

    /// Forgets what was typed so far. A person must see a question before the answer counts.
    pub(super) fn forget_input(&mut self) {
        self.line.clear();
        // A job in the background would be stopped.
        if self.is_foreground() {
            let _ = tcflush(&self.device, QueueSelector::IFlush);
        }
    }

    /// Waits for the next line. Cancel-safe: a part of a line stays for the next call.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) async fn line(&mut self) -> io::Result<String> {
        loop {
            self.device.readable().await?;
            if !self.is_foreground() {
                tokio::time::sleep(FOREGROUND_PAUSE).await;
                continue;
            }
            let mut bytes = [0; 4096];
            let read = match self.device.try_read(&mut bytes) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read == 0 {
                // Ctrl-D on an empty line, which decides nothing; or the terminal is gone.
                tcgetpgrp(&self.device)?;
                return Ok(String::new());
            }
            self.line.extend_from_slice(&bytes[..read]);
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            if self.line.len() > LINE_BYTES {
                self.line.clear();
            }
        }
    }

    /// Returns whether this process may read from the terminal without being stopped.
    fn is_foreground(&self) -> bool {
        tcgetpgrp(&self.device).is_ok_and(|group| group == getpgrp())
    }
}
