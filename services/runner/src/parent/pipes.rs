//! claude-api's ends of the CLI's pipes.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::{
    io::{Errno, ioctl_fionread},
    net::{
        AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair,
        sockopt::set_socket_send_buffer_size,
    },
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::{UnixStream, unix::pipe},
};

use super::quota::{self, Share};

/// stderr is a trickle and stdin is written once: small pipes leave the user's quota to stdout. Of a
/// socket the kernel takes twice as much (socket(7)).
const SMALL_PIPE_BYTES: usize = 16 << 10;

/// Our end of the CLI's stdin. Dropping it is the CLI's end of file.
#[derive(Debug)]
pub struct Stdin(Ours);

#[derive(Debug)]
enum Ours {
    Pipe(pipe::Sender),
    /// For a program in the sandbox: any process of the same user can open a pipe again by
    /// `/proc/PID/fd/0`, and a tool could so write answers to the CLI's own questions. A socket
    /// cannot be opened (ENXIO). Not for others, because `bash -c` with a socket as its stdin
    /// takes itself for a remote shell and reads `~/.bashrc` (bash(1), "Invocation").
    Socket(UnixStream),
}

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Ours::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Ours::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    /// Neither kind has a buffer of its own.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes nothing: drop it for that.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The read end of the CLI's stdout.
#[derive(Debug)]
pub struct Stdout {
    pipe: pipe::Receiver,
    _share: Option<Share>,
}

/// The read end of the CLI's stderr.
#[derive(Debug)]
pub struct Stderr {
    pipe: pipe::Receiver,
}

/// What a final drain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many bytes were read.
    pub bytes: u64,
    /// Every write end is closed: there will be no more.
    pub end_of_file: bool,
}

impl Stdout {
    /// Reads what is there, waiting for the first byte; 0 at end of file. Cancel safe.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer).await
    }

    /// The final drain, after [`crate::Event::Exited`]: gives `sink` at least everything that was in the pipe at the
    /// moment of the call, without waiting, and never runs for ever while a grandchild goes on writing. Tokio's own
    /// reads do not do: with its readiness cleared they say "would block" while bytes are there.
    ///
    /// # Errors
    /// What the system says.
    pub fn drain_available(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Drained> {
        drain(&self.pipe, sink)
    }
}

impl Stderr {
    /// As [`Stdout::read`].
    ///
    /// # Errors
    /// What the system says.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer).await
    }

    /// As [`Stdout::drain_available`].
    ///
    /// # Errors
    /// What the system says.
    pub fn drain_available(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Drained> {
        drain(&self.pipe, sink)
    }
}

fn drain(pipe: impl AsFd, mut sink: impl FnMut(&[u8])) -> io::Result<Drained> {
    let there = ioctl_fionread(&pipe)?;
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        match rustix::io::read(&pipe, buffer.as_mut_slice()) {
            Ok(0) => {
                return Ok(Drained {
                    bytes,
                    end_of_file: true,
                });
            }
            Ok(count) => {
                sink(&buffer[..count]);
                bytes += count as u64;
                // One read more than needed would tell the end of file, but with a writer left it could go on for ever.
                if bytes > there {
                    return Ok(Drained {
                        bytes,
                        end_of_file: false,
                    });
                }
            }
            Err(Errno::AGAIN) => {
                return Ok(Drained {
                    bytes,
                    end_of_file: false,
                });
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The three pipes of a CLI, ours and its ends.
pub(super) struct Pipes {
    pub(super) stdin: Stdin,
    pub(super) stdout: Stdout,
    pub(super) stderr: Stderr,
    pub(super) child_stdin: OwnedFd,
    pub(super) child_stdout: OwnedFd,
    pub(super) child_stderr: OwnedFd,
}

impl Pipes {
    /// Only our ends are non-blocking: these are other open files than the CLI's ends, which stay blocking.
    /// `sandboxed` is whether the CLI runs in the sandbox.
    pub(super) fn new(stdout_bytes: usize, sandboxed: bool) -> io::Result<Self> {
        let (child_stdin, stdin) = if sandboxed { socket()? } else { stdin_pipe()? };
        let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        // Over the user's quota these fail or are small already: both fine.
        let _ = fcntl_setpipe_size(&stderr, SMALL_PIPE_BYTES);
        let share = quota::enlarge(&stdout, stdout_bytes);
        Ok(Self {
            stdin: Stdin(stdin),
            stdout: Stdout {
                pipe: pipe::Receiver::from_owned_fd(stdout)?,
                _share: share,
            },
            stderr: Stderr {
                pipe: pipe::Receiver::from_owned_fd(stderr)?,
            },
            child_stdin,
            child_stdout,
            child_stderr,
        })
    }
}

/// The CLI's end of its stdin, and ours.
fn stdin_pipe() -> io::Result<(OwnedFd, Ours)> {
    let (child, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&ours, SMALL_PIPE_BYTES);
    Ok((child, Ours::Pipe(pipe::Sender::from_owned_fd(ours)?)))
}

/// As [`stdin_pipe`].
fn socket() -> io::Result<(OwnedFd, Ours)> {
    let (child, ours) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_send_buffer_size(&ours, SMALL_PIPE_BYTES)?;
    // What a tool writes into the CLI's stdin fails. Nobody would read it, and if it lay here when
    // this end is closed, the CLI would get an error in place of its end of file (unix(7)).
    shutdown(&ours, Shutdown::Read)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((child, Ours::Socket(UnixStream::from_std(ours.into())?)))
}
