//! Sending commands to a runner.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::{
    net::{SendFlags, send},
    process::{Signal, pidfd_send_signal},
};

use tokio::{sync::watch, time::timeout};

use crate::wire::Command;

/// The commands to a runner. Cheap to clone; no call blocks or fails. Each command returns whether
/// the socket accepted it. The runner answers accepted commands with [`crate::Event::Signalled`],
/// immediately and in order. A command that was not accepted gets no answer and may be sent again.
#[derive(Clone, Debug)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: OwnedFd,
    /// A pidfd of the runner: a signal through it never reaches a later process with the same id.
    runner: OwnedFd,
    pid: u32,
    /// Closed once the runner was reaped.
    reaped: watch::Receiver<String>,
}

impl Control {
    pub(super) fn new(
        socket: OwnedFd,
        runner: OwnedFd,
        pid: u32,
        reaped: watch::Receiver<String>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                socket,
                runner,
                pid,
                reaped,
            }),
        }
    }

    /// Pauses the whole tree. The runner reports [`crate::Event::Signalled`], then
    /// [`crate::Event::Paused`]. After a terminate, this does nothing.
    pub fn pause(&self) -> bool {
        self.send(&Command::Pause)
    }

    /// Resumes the whole tree. The runner reports [`crate::Event::Signalled`], then
    /// [`crate::Event::Resumed`].
    pub fn resume(&self) -> bool {
        self.send(&Command::Resume)
    }

    /// Sends TERM to the whole tree, the CLI first, and CONT if it was paused. Everything left once
    /// the CLI has ended, or after `kill_after`, is killed. A repeated call can only shorten the
    /// grace.
    pub fn terminate(&self, kill_after: Duration) -> bool {
        self.send(&Command::terminate(kill_after))
    }

    /// Kills the whole tree.
    pub fn kill(&self) -> bool {
        self.send(&Command::Kill)
    }

    /// Kills the runner itself, for a runner that no longer answers, for example because it was
    /// stopped. Its processes then become orphans of this process: call
    /// [`super::Runners::sweep_orphans`] once [`crate::Events::next`] has returned `None`.
    pub fn kill_runner(&self) {
        let _ = pidfd_send_signal(&self.inner.runner, Signal::KILL);
    }

    /// Waits until the runner has ended, and kills it after `limit`. For a caller without the
    /// runner's [`crate::Events`]. Processes of a killed runner become orphans: call
    /// [`super::Runners::sweep_orphans`].
    pub async fn ended(&self, limit: Duration) {
        let mut reaped = self.inner.reaped.clone();
        let mut has_ended = async || while reaped.changed().await.is_ok() {};
        if timeout(limit, has_ended()).await.is_err() {
            self.kill_runner();
            has_ended().await;
        }
    }

    /// The runner's process id, for logs and [`crate::tree_cpu`].
    #[must_use]
    pub fn runner_pid(&self) -> u32 {
        self.inner.pid
    }

    fn send(&self, command: &Command) -> bool {
        let Ok(mut line) = serde_json::to_vec(command) else {
            return false;
        };
        line.push(b'\n');
        // A short line is accepted whole or not at all (unix(7)). A runner that ended or no longer
        // reads does not answer.
        send(
            &self.inner.socket,
            &line,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
        .is_ok()
    }
}
