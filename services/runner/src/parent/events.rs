//! What a runner reports, as claude-api reads it.

use std::{os::fd::AsFd, sync::Arc};

use rustix::net::{Shutdown, shutdown};
use tokio::{io::AsyncReadExt, net::UnixStream};

use super::handle::Control;
use crate::wire::Event;

/// The reports of one runner. Whoever drops this before [`Event::Done`] ends the execution: the runner sees the end of
/// its control socket and kills everything, so a lost task can never leave a tree behind.
#[derive(Debug)]
pub struct Events {
    socket: UnixStream,
    unread: Vec<u8>,
    ended: bool,
    /// Keeps the descriptors alive for as long as reports can come.
    _control: Control,
}

impl Events {
    pub(super) fn new(socket: UnixStream, control: Control) -> Self {
        Self {
            socket,
            unread: Vec::new(),
            ended: false,
            _control: control,
        }
    }

    /// The next report, or `None` when the control socket has ended. `None` without a [`Event::Done`] or
    /// [`Event::SpawnFailed`] before it means that the runner died: call [`super::Runners::sweep_orphans`]. Cancel safe.
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
                return None;
            }
            // A reset is the death of a runner with commands unread: the same as the end.
            let count = self.socket.read_buf(&mut self.unread).await.unwrap_or(0);
            self.ended = count == 0;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Clones of the control may live on somewhere; without this they would keep the runner from seeing the end.
        let _ = shutdown(self.socket.as_fd(), Shutdown::Both);
    }
}

/// The type is moved between tasks and shared in tests.
const _: fn() = || {
    fn assert_send<T: Send>() {}
    assert_send::<Events>();
    assert_send::<Arc<Control>>();
};
