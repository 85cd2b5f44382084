//! The events that claude-api receives from a runner, such as the start and the end of the CLI.

use std::{os::fd::AsFd, time::Duration};

use rustix::net::{Shutdown, shutdown};
use tokio::{io::AsyncReadExt, net::UnixStream, sync::watch, time::timeout};

use super::commands::Control;
use crate::wire::Event;

/// The time that a runner has from closing its socket to the end of its process (1 s), after which
/// it is killed. It does nothing in between.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// The reports of one runner about its execution, in order. Dropping this before [`Event::Done`]
/// ends the execution: the runner sees the end of its control socket and kills everything. So a
/// lost task never leaves processes behind.
#[derive(Debug)]
pub struct Events {
    socket: UnixStream,
    unread: Vec<u8>,
    ended: bool,
    control: Control,
    /// The exit status of the runner in words, set once it was reaped.
    reaped: watch::Receiver<String>,
}

impl Events {
    pub(super) fn new(
        socket: UnixStream,
        control: Control,
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

    /// Waits for the runner's next report. `None` once the runner has closed its control socket and
    /// its process was reaped. If neither [`Event::Done`] nor [`Event::SpawnFailed`] preceded, the
    /// runner died: call [`super::Runners::sweep_orphans`], which then finds all its processes.
    /// Cancel safe.
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

    /// Returns how the runner process ended, in words (`signal: 9 (SIGKILL)`); empty while it is
    /// alive. The end is known once [`Self::next`] has returned `None`.
    #[must_use]
    pub fn runner_end(&self) -> String {
        self.reaped.borrow().clone()
    }

    /// Waits until the runner process was reaped, and kills it if it does not end. The kernel first
    /// closes the files of a dying process and later gives its children to another parent; a sweep
    /// between the two would find nothing. Once the runner is reaped, all its children belong to
    /// this process.
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
