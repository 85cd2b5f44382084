//! Commands to a runner.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::{
    net::{SendFlags, send},
    process::{Signal, pidfd_send_signal},
};

use tokio::{sync::watch, time::timeout};

use crate::wire::Command;

/// Commands to a runner. Cheap to clone; no call blocks or fails. A command returns whether the
/// socket took it. The runner answers taken commands with [`crate::Event::Signalled`] at once, in
/// order. A refused command gets no answer and may be sent again.
#[derive(Clone, Debug)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: OwnedFd,
    /// Pins the process: a signal through it never reaches a later one of the same id.
    runner: OwnedFd,
    pid: u32,
    /// Closed when the runner was reaped.
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

    /// Stops the whole tree: [`crate::Event::Signalled`], then [`crate::Event::Paused`]. After a terminate it does nothing.
    pub fn pause(&self) -> bool {
        self.send(&Command::Pause)
    }

    /// Lets the whole tree go on: [`crate::Event::Signalled`], [`crate::Event::Resumed`].
    pub fn resume(&self) -> bool {
        self.send(&Command::Resume)
    }

    /// TERM to the whole tree, the CLI first, CONT if it was paused; once the CLI has ended, or after `kill_after`, KILL
    /// for everything left. A repeated one can only shorten the grace.
    pub fn terminate(&self, kill_after: Duration) -> bool {
        self.send(&Command::terminate(kill_after))
    }

    /// KILL for the whole tree.
    pub fn kill(&self) -> bool {
        self.send(&Command::Kill)
    }

    /// KILL for the runner itself, for one that answers no more (it was stopped, for example). Its tree then comes to
    /// this process: call [`super::Runners::sweep_orphans`] once [`crate::Events::next`] has given `None`.
    pub fn kill_runner(&self) {
        let _ = pidfd_send_signal(&self.inner.runner, Signal::KILL);
    }

    /// Waits until the runner has ended, for a caller without its [`crate::Events`]; kills it after
    /// `limit`. Processes of a killed runner become orphans: call
    /// [`super::Runners::sweep_orphans`].
    pub async fn ended(&self, limit: Duration) {
        let mut reaped = self.inner.reaped.clone();
        let mut gone = async || while reaped.changed().await.is_ok() {};
        if timeout(limit, gone()).await.is_err() {
            self.kill_runner();
            gone().await;
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
        // A short line is taken whole or not at all (unix(7)). A runner that is gone, or reads no more, is seen by its
        // silence.
        send(
            &self.inner.socket,
            &line,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
        .is_ok()
    }
}
