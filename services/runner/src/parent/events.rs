//! The reports that claude-api receives from a runner process, such as the start and the end of the
//! CLI.

use std::{os::fd::AsFd, time::Duration};

use rustix::net::{Shutdown, shutdown};
use tokio::{io::AsyncReadExt, net::UnixStream, sync::watch, time::timeout};

use super::commands::CommandSender;
use crate::wire::Event;

/// The time (1 s) within which a runner process must exit after it has closed its control socket.
/// It has nothing left to do then, so it is killed after this time.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// Receives the reports of one runner process about its execution, in order.
///
/// Dropping this before [`Event::Done`] ends the execution: the runner sees the end of its control
/// socket, and kills all processes with SIGKILL. So a task that panics or is cancelled leaves no
/// processes behind.
#[derive(Debug)]
pub struct Events {
    /// The control socket of the runner, from which reports are read.
    socket: UnixStream,
    /// Bytes that were received but not parsed yet. They may end in the middle of a line.
    unread: Vec<u8>,
    /// Whether the runner has closed the socket, so that no more reports can arrive.
    ended: bool,
    /// Kills the runner process if it does not exit.
    control: CommandSender,
    /// How the runner process ended, in words; empty until it was reaped.
    reaped: watch::Receiver<String>,
}

impl Events {
    /// Creates the receiver of a runner's reports from its control socket. `reaped` holds how the
    /// runner ended, in words, once it was reaped.
    pub(super) fn new(
        socket: UnixStream,
        control: CommandSender,
        reaped: watch::Receiver<String>,
    ) -> Self {
        Self {
            socket,
            unread: Vec::new(),
            ended: false,
            control,
            reaped,
        }
    }

    /// Waits for the runner's next report and returns it. A line that is not a valid report is
    /// logged and skipped.
    ///
    /// `None` means that the runner has closed its control socket and that its process was reaped.
    /// If neither [`Event::Done`] nor [`Event::SpawnFailed`] was returned before, the runner died
    /// unexpectedly and may have left processes. Call `Runners::sweep_orphans` then, which
    /// finds all of them.
    ///
    /// # Cancellation
    /// Safe: a dropped call loses no report.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                match serde_json::from_slice(&line) {
                    Ok(event) => return Some(event),
                    Err(error) => tracing::warn!(%error, "ignored an invalid line from a runner"),
                }
                continue;
            }
            if self.ended {
                self.reaped().await;
                return None;
            }
            // An error here is a reset: the runner died with unread commands. Treat it as the end.
            let count = self.socket.read_buf(&mut self.unread).await.unwrap_or(0);
            self.ended = count == 0;
        }
    }

    /// Returns how the runner process ended, in words such as `signal: 9 (SIGKILL)`. Empty while
    /// the process is alive. The end is known once [`Self::next`] has returned `None`.
    #[must_use]
    pub fn runner_end(&self) -> String {
        self.reaped.borrow().clone()
    }

    /// Waits until the runner process was reaped, and kills it if it does not exit within a second.
    ///
    /// The kernel first closes the files of a dying process, and later gives its children to
    /// another parent. A search for orphans between the two would find nothing. Once the runner is
    /// reaped, all its children belong to this process.
    async fn reaped(&mut self) {
        // A runner that closed its socket has finished its work, so killing it loses nothing.
        let exits = timeout(EXIT_GRACE, self.reaped.changed());
        if exits.await.is_err() {
            self.control.kill_runner();
            let _ = timeout(EXIT_GRACE, self.reaped.changed()).await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Clones of the control may outlive this value and would keep the socket open for the
        // runner.
        let _ = shutdown(self.socket.as_fd(), Shutdown::Both);
    }
}
