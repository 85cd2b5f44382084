//! The commands that claude-api sends to a runner: pause, resume, terminate and kill.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::{
    net::{SendFlags, send},
    process::{Signal, pidfd_send_signal},
};

use tokio::{sync::watch, time::timeout};

use crate::wire::Command;

/// Sends commands to one runner. Cheap to clone; no command blocks or fails. Each returns whether
/// the runner's socket accepted it. The runner answers an accepted command with
/// [`crate::Event::Signalled`], immediately and in order. A command that was not accepted gets no
/// answer and may be sent again.
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
    /// Closed once the runner process has ended and was reaped.
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

    /// Stops all processes of the execution (SIGSTOP). The runner reports
    /// [`crate::Event::Signalled`], then [`crate::Event::Paused`] once all are stopped. After
    /// [`Self::terminate`], nothing is stopped.
    pub fn pause(&self) -> bool {
        self.send(&Command::Pause)
    }

    /// Continues all processes of the execution (SIGCONT). The runner reports
    /// [`crate::Event::Signalled`], then [`crate::Event::Resumed`].
    pub fn resume(&self) -> bool {
        self.send(&Command::Resume)
    }

    /// Asks all processes of the execution to end (SIGTERM), the CLI first, and continues them if
    /// they were paused. Those left once the CLI has ended, or after `kill_after`, are killed. A
    /// repeated call can only shorten that time.
    pub fn terminate(&self, kill_after: Duration) -> bool {
        self.send(&Command::terminate(kill_after))
    }

    /// Kills all processes of the execution (SIGKILL).
    pub fn kill(&self) -> bool {
        self.send(&Command::Kill)
    }

    /// Kills the runner process itself, if it no longer answers, for example because it was
    /// stopped. The processes of its execution then become orphans of this process: call
    /// [`super::Runners::sweep_orphans`] once [`crate::Events::next`] has returned `None`.
    pub fn kill_runner(&self) {
        let _ = pidfd_send_signal(&self.inner.runner, Signal::KILL);
    }

    /// Waits until the runner process has ended, and kills it after `limit`. For a caller that does
    /// not hold the runner's [`crate::Events`]. Processes of a killed runner become orphans: call
    /// [`super::Runners::sweep_orphans`].
    pub async fn ended(&self, limit: Duration) {
        let mut reaped = self.inner.reaped.clone();
        let mut has_ended = async || while reaped.changed().await.is_ok() {};
        if timeout(limit, has_ended()).await.is_err() {
            self.kill_runner();
            has_ended().await;
        }
    }

    /// Returns the runner's process id, for logs and [`crate::tree_cpu`].
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
