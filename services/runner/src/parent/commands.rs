//! The commands that claude-api sends to a runner process: pause (SIGSTOP), resume (SIGCONT),
//! terminate (SIGTERM) and kill (SIGKILL).

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::{
    net::{SendFlags, send},
    process::{Signal, pidfd_send_signal},
};

use tokio::{sync::watch, time::timeout};

use crate::wire::Command;

/// Sends commands (pause, resume, terminate, kill) to one runner process. Cheap to clone.
///
/// No command blocks or fails. Each returns true if the runner's socket accepted it; the runner
/// then answers with [`crate::Event::Signalled`], immediately and in order. False means that the
/// socket was full or the runner has ended; there is no answer, and the command may be sent again.
#[derive(Clone, Debug)]
pub struct CommandSender {
    /// The connection to the runner, shared by all clones.
    inner: Arc<Inner>,
}

/// The connection to one runner, shared by all clones of a [`CommandSender`].
#[derive(Debug)]
struct Inner {
    /// The end of the control socket from which commands are sent.
    socket: OwnedFd,
    /// A pidfd of the runner process. A signal through it never reaches a later process with the
    /// same id.
    runner: OwnedFd,
    /// The process id of the runner.
    pid: u32,
    /// Holds how the runner ended, in words. Closed once the runner process has ended and was
    /// reaped.
    reaped: watch::Receiver<String>,
}

impl CommandSender {
    /// Creates the control of the runner process `pid` from its control socket, its pidfd `runner`,
    /// and the channel that closes once it was reaped.
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

    /// Asks the runner to suspend all processes of the execution with SIGSTOP. The runner reports
    /// [`crate::Event::Signalled`] immediately, and [`crate::Event::Paused`] once all are stopped.
    /// After [`Self::terminate`] it suspends nothing, because a suspended process cannot act on
    /// SIGTERM. Returns whether the runner's socket accepted the command.
    pub fn pause(&self) -> bool {
        self.send(&Command::Pause)
    }

    /// Asks the runner to continue all suspended processes of the execution with SIGCONT. The
    /// runner reports [`crate::Event::Signalled`], then [`crate::Event::Resumed`]. Returns whether
    /// the runner's socket accepted the command.
    pub fn resume(&self) -> bool {
        self.send(&Command::Resume)
    }

    /// Asks the runner to end all processes of the execution with SIGTERM, the CLI first. Suspended
    /// processes are continued, so that they can act on the signal. Processes that are left when
    /// the CLI has ended, or after `kill_after`, are killed with SIGKILL. A repeated call can only
    /// shorten `kill_after`. Returns whether the runner's socket accepted the command.
    pub fn terminate(&self, kill_after: Duration) -> bool {
        self.send(&Command::terminate(kill_after))
    }

    /// Asks the runner to kill all processes of the execution with SIGKILL, without a grace period.
    /// Returns whether the runner's socket accepted the command.
    pub fn kill(&self) -> bool {
        self.send(&Command::Kill)
    }

    /// Kills the runner process itself (SIGKILL). Used if it no longer answers, for example because
    /// something stopped it. The processes of its execution then become children of this process.
    /// Call `Runners::sweep_orphans` to kill them, once [`crate::Events::next`] has
    /// returned `None`.
    pub fn kill_runner(&self) {
        let _ = pidfd_send_signal(&self.inner.runner, Signal::KILL);
    }

    /// Waits until the runner process has ended, and kills it if it has not after `limit`. For a
    /// caller that does not hold the runner's [`crate::Events`]. The processes of a killed runner
    /// become children of this process; call `Runners::sweep_orphans` to kill them.
    pub async fn ended(&self, limit: Duration) {
        let mut reaped = self.inner.reaped.clone();
        let mut has_ended = async || while reaped.changed().await.is_ok() {};
        if timeout(limit, has_ended()).await.is_err() {
            self.kill_runner();
            has_ended().await;
        }
    }

    /// Returns the process id of the runner, for logs and for measuring the CPU time of the
    /// execution with [`crate::tree_cpu`].
    #[must_use]
    pub fn runner_pid(&self) -> u32 {
        self.inner.pid
    }

    /// Sends a command as one JSON line without waiting. Returns false if the socket is full or
    /// closed.
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
