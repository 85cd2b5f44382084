//! Starts a runner process, and sends it its spec: the program to run, with its arguments,
//! environment and sandbox.

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

use super::{
    Runners, commands::CommandSender, events::Events, handle::Handle, pipes::Pipes, registry,
};
use crate::{process::to_pid, wire};

/// The time that a new runner process has to read its spec (10 s), after which it is killed.
/// Normally it needs less than a millisecond.
const HANDOVER_LIMIT: Duration = Duration::from_secs(10);

impl Runners {
    /// Starts a runner process, sends it `spec` (the program to run, with its arguments and
    /// environment), and returns the connection to both. `Ok` does not mean that the program runs.
    /// It may still fail to start, or the runner may die before it has read the whole spec;
    /// [`Events`] reports both.
    ///
    /// Dropping the future, or all parts of its result, kills the runner and everything it started.
    ///
    /// # Errors
    /// The error of the operating system, unchanged. If no descriptor or process was available
    /// (EMFILE, EAGAIN), the shortage is temporary. `TimedOut` if the runner did not read the spec
    /// within 10 s.
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
        // Make the runner's end blocking; it is a separate open file from ours.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let (control, reaped) =
            self.spawn(ours.try_clone()?, theirs, child_stdout, child_stderr)?;
        let mut socket = UnixStream::from_std(ours.into())?;
        let sending = send_spec(&mut socket, &line, child_stdin);
        let sent = timeout(HANDOVER_LIMIT, sending)
            .await
            .map_err(io::Error::from)
            .and_then(|done| done);
        match sent {
            // A runner that was killed before it had the spec is handled as any dead runner: its
            // events report the end.
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

    /// Starts a runner process, and returns its control and a channel that reports how it ended.
    /// `theirs` becomes the runner's stdin (its control socket), `stdout` and `stderr` are
    /// inherited by the CLI.
    ///
    /// The spawn and the entry in the list of live runners happen under one lock, so that no search
    /// for orphans kills the new runner. A task on the runtime of [`Runners::new`] reaps it.
    fn spawn(
        &self,
        ours: OwnedFd,
        theirs: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<(CommandSender, watch::Receiver<String>)> {
        let mut command = std::process::Command::new(self.runner_exe.as_path());
        command
            .arg("runner")
            // The spec is sent by the socket, because the runner's environment would be readable in
            // /proc.
            .env_clear()
            .process_group(0)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr));
        let mut command = Command::from(command);
        // tokio registers the wait for a child in the runtime that spawns it.
        let entered = self.runtime.enter();
        let mut live = registry::lock();
        let mut child = command.spawn()?;
        let pid = child
            .id()
            .ok_or_else(|| io::Error::other("the runner has no id"))?;
        let registration = live.register(pid);
        drop(live);
        drop(entered);
        // Only the task below reaps the runner, so its id is still valid here.
        let pinned = to_pid(pid)
            .ok_or_else(|| io::Error::other("the runner has no id"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let (sender, reaped) = watch::channel(String::new());
        self.runtime.spawn(async move {
            // Keep the runner registered until it is reaped: an unreaped runner is a child, and
            // must not be treated as an orphan.
            let _registration = registration;
            match child.wait().await {
                Ok(status) => drop(sender.send_replace(status.to_string())),
                Err(error) => tracing::warn!(pid, %error, "could not wait for a runner to exit"),
            }
        });
        Ok((
            CommandSender::new(ours, pinned?, pid, reaped.clone()),
            reaped,
        ))
    }
}

/// Whether a write to a runner's socket failed because the runner has closed it or died (EPIPE,
/// ECONNRESET).
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

/// Sends the spec (the program to run) to a runner as the JSON line `line`. The descriptor of the
/// CLI's stdin is passed with its first bytes (`SCM_RIGHTS`, unix(7)).
async fn send_spec(socket: &mut UnixStream, line: &[u8], stdin: OwnedFd) -> io::Result<()> {
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
