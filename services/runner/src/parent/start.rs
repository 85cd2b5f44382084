//! Starts one runner and hands it its task.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Stdio,
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType, sendmsg, socketpair,
    },
    process::{PidfdFlags, pidfd_open},
};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::UnixStream,
    process::Command,
    sync::watch,
    time::timeout,
};

use super::{Runners, commands::Control, events::Events, handle::Handle, pipes::Pipes, registry};
use crate::{process::raw, wire};

/// A runner reads its task within a millisecond; one that does not in this time is given up.
const HANDOVER_LIMIT: Duration = Duration::from_secs(10);

impl Runners {
    /// Starts a runner and sends it `spec`. The CLI itself may still fail to start, or the runner may die before it has all
    /// of its task: [`Events`] tells.
    ///
    /// Dropping the future, or everything it gave, ends the runner and what it started.
    ///
    /// # Errors
    /// No descriptor or process could be had: the system's error as it is, as a shortage may pass. Or the runner did not take
    /// its task within 10 s.
    pub async fn start(&self, spec: wire::Spec) -> io::Result<Handle> {
        let pipes = Pipes::new(spec.stdout_pipe_bytes, spec.sandbox.is_some())?;
        let mut line = serde_json::to_vec(&wire::Command::Run(spec)).map_err(io::Error::other)?;
        line.push(b'\n');
        let Pipes {
            stdin,
            stdout,
            stderr,
            child_stdin,
            child_stdout,
            child_stderr,
        } = pipes;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // The runner's end blocks: its file is another one than ours.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let (control, reaped) =
            self.spawn(ours.try_clone()?, theirs, child_stdout, child_stderr)?;
        let mut socket = UnixStream::from_std(ours.into())?;
        let handover = hand_over(&mut socket, &line, child_stdin);
        let handed_over = timeout(HANDOVER_LIMIT, handover)
            .await
            .map_err(io::Error::from)
            .and_then(|done| done);
        match handed_over {
            // A runner that was killed before it had its task dies like any other: its events say how.
            Err(error) if !is_gone(&error) => {
                control.kill_runner();
                return Err(error);
            }
            _ => {}
        }
        let events = Events::new(socket, control.clone(), reaped);
        Ok(Handle {
            stdin,
            stdout,
            stderr,
            control,
            events,
        })
    }

    /// Spawns and registers in one step under the lock, so that a sweep never takes the newborn for an orphan; a task
    /// of [`Runners::new`]'s runtime then reaps it. Our copies of the runner's ends close with the command.
    fn spawn(
        &self,
        ours: OwnedFd,
        theirs: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<(Control, watch::Receiver<String>)> {
        let mut command = std::process::Command::new(self.runner_exe.as_path());
        command
            .arg("runner")
            // Its task comes by the socket; its own environment would be readable in /proc.
            .env_clear()
            .process_group(0)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr));
        let mut command = Command::from(command);
        // The wait for it is registered where it is spawned from.
        let entered = self.runtime.enter();
        let mut live = registry::lock();
        let mut child = command.spawn()?;
        let pid = child
            .id()
            .ok_or_else(|| io::Error::other("the runner has no id"))?;
        let registration = live.register(pid);
        drop(live);
        drop(entered);
        // Nobody else reaps it, so the id is still its own here.
        let pinned = raw(pid)
            .ok_or_else(|| io::Error::other("the runner has no id"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let (sender, reaped) = watch::channel(String::new());
        self.runtime.spawn(async move {
            // Registered until it is reaped: an unreaped runner is a child, and must not be taken for an orphan.
            let _registration = registration;
            match child.wait().await {
                Ok(status) => drop(sender.send_replace(status.to_string())),
                Err(error) => tracing::warn!(pid, %error, "a runner could not be waited for"),
            }
        });
        Ok((Control::new(ours, pinned?, pid, reaped.clone()), reaped))
    }
}

/// Whether a write failed because the other end is closed.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

/// Sends the task; the read end of the CLI's stdin goes with its first bytes.
async fn hand_over(socket: &mut UnixStream, line: &[u8], stdin: OwnedFd) -> io::Result<()> {
    let first = socket
        .async_io(Interest::WRITABLE, || {
            let descriptors = [stdin.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            Ok(sendmsg(
                &*socket,
                &[IoSlice::new(line)],
                &mut ancillary,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            )?)
        })
        .await?;
    drop(stdin);
    socket.write_all(&line[first..]).await
}
