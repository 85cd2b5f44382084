//! Writes lines to stdout as configured: whole, split inside characters, with CR LF, or without the
//! last newline. A pipe without a reader does not end the run, as with the real CLI.

use std::{fs::File, io::Write, time::Duration};

use rustix::io::Errno;

/// The pause between the parts of a split line, so the reader gets them separately.
const SPLIT_PAUSE: Duration = Duration::from_millis(1);
/// The maximum number of splits in a line.
const SPLITS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) split: bool,
    pub(super) crlf: bool,
    /// Holds a newline back until the next line, so the last line has none.
    pub(super) no_final_newline: bool,
    owed: bool,
    closed: bool,
    /// Gets a copy of all bytes, each before it is written. `None` if the stand-in keeps none.
    pub(super) record: Option<File>,
}

impl Output {
    pub(super) fn line(&mut self, line: &str) {
        self.bytes_line(line.as_bytes());
    }

    pub(super) fn bytes_line(&mut self, line: &[u8]) {
        let end: &[u8] = if self.crlf { b"\r\n" } else { b"\n" };
        let mut all = Vec::with_capacity(line.len() + 2 * end.len());
        if std::mem::take(&mut self.owed) {
            all.extend_from_slice(end);
        }
        all.extend_from_slice(line);
        if self.no_final_newline {
            self.owed = true;
        } else {
            all.extend_from_slice(end);
        }
        if self.split {
            self.in_parts(&all)
        } else {
            self.raw(&all)
        }
    }

    /// Splits after the first byte of each multi-byte character.
    fn in_parts(&mut self, bytes: &[u8]) {
        let mut from = 0;
        let inside = (0..bytes.len())
            .filter(|at| bytes[*at] >= 0xc0)
            .take(SPLITS);
        for at in inside.collect::<Vec<_>>() {
            self.raw(&bytes[from..=at]);
            from = at + 1;
            std::thread::sleep(SPLIT_PAUSE);
        }
        self.raw(&bytes[from..]);
    }

    /// Writes all bytes unchanged; blocks while the pipe is full.
    pub(super) fn raw(&mut self, mut bytes: &[u8]) {
        if let Some(record) = &mut self.record {
            // A test that compares the copy notices when the write fails.
            let _ = record.write_all(bytes);
        }
        while !bytes.is_empty() && !self.closed {
            match rustix::io::write(rustix::stdio::stdout(), bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => std::thread::sleep(SPLIT_PAUSE),
                Err(_) => self.closed = true,
            }
        }
    }
}
