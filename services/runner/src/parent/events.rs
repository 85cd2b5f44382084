//! What a runner reports, as claude-api reads it.

use std::{os::fd::AsFd, time::Duration};

use rustix::net::{Shutdown, shutdown};
use tokio::{io::AsyncReadExt, net::UnixStream, sync::watch, time::timeout};

use super::commands::Control;
use crate::wire::Event;

/// How long a runner may take from closing its socket to its end: it does nothing in between.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// The reports of one runner. Whoever drops this before [`Event::Done`] ends the execution: the runner sees the end of
/// its control socket and kills everything, so a lost task can never leave a tree behind.
#[derive(Debug)]
pub struct Events {
    socket: UnixStream,
    unread: Vec<u8>,
    ended: bool,
    control: Control,
    /// Set to the runner's end when the runner was reaped.
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

    /// The next report, or `None` when the control socket has ended. `None` without a [`Event::Done`] or
    /// [`Event::SpawnFailed`] before it means that the runner died: call [`super::Runners::sweep_orphans`], which finds
    /// everything, because `None` comes only after the runner was reaped. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                match serde_json::from_slice(&line) {
                    Ok(event) => return Some(event),
                    Err(error) => tracing::warn!(%error, "a runner said what is no event"),
                }
                continue;
            }
            if self.ended {
                self.reaped().await;
                return None;
            }
            // A reset is the death of a runner with commands unread: the same as the end.
            let count = self.socket.read_buf(&mut self.unread).await.unwrap_or(0);
            self.ended = count == 0;
        }
    }

    /// Returns the end of the runner in words (`signal: 9 (SIGKILL)`); empty while it lives. The
    /// end is known once [`Self::next`] has returned `None`.
    #[must_use]
    pub fn runner_end(&self) -> String {
        self.reaped.borrow().clone()
    }

    /// The kernel closes a dying process's files first and gives its children away later: a sweep between the two would
    /// find nothing. Once it can be reaped, all have come here.
    async fn reaped(&mut self) {
        // One that has closed its socket has ended its work, so nothing is lost if it should still live.
        let exits = timeout(EXIT_GRACE, self.reaped.changed());
        if exits.await.is_err() {
            self.control.kill_runner();
            let _ = timeout(EXIT_GRACE, self.reaped.changed()).await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Clones of the control may live on somewhere; without this they would keep the runner from seeing the end.
        let _ = shutdown(self.socket.as_fd(), Shutdown::Both);
    }
}
