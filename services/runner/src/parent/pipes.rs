//! The CLI's stdin, stdout and stderr, as seen from claude-api.

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

/// The size of the stdin and stderr pipes (16 KiB). stderr carries little and stdin is written
/// once, so small pipes leave the user's quota of pipe memory to stdout. For a socket, the kernel
/// doubles this size (socket(7)).
const SMALL_PIPE_BYTES: usize = 16 << 10;

/// Writes to the CLI's stdin. Dropping this gives the CLI its end of file.
#[derive(Debug)]
pub struct Stdin(StdinEnd);

/// The kind of file that is the CLI's stdin.
#[derive(Debug)]
enum StdinEnd {
    Pipe(pipe::Sender),
    /// For a program in the sandbox. Any process of the same user can reopen a pipe through
    /// `/proc/PID/fd/0`, so a tool could write answers to the CLI's own questions. A socket cannot
    /// be reopened (ENXIO). Other programs get a pipe: with a socket as its stdin, `bash -c`
    /// assumes that it is a remote shell and reads `~/.bashrc` (bash(1), "Invocation").
    Socket(UnixStream),
}

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            StdinEnd::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            StdinEnd::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    /// Does nothing: neither kind has a buffer.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: drop the value to close it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads the CLI's stdout, without buffering.
#[derive(Debug)]
pub struct Stdout {
    pipe: pipe::Receiver,
    _share: Option<Share>,
}

/// Reads the CLI's stderr, without buffering.
#[derive(Debug)]
pub struct Stderr {
    pipe: pipe::Receiver,
}

/// The result of draining a pipe after the CLI has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The number of bytes that were read and passed on.
    pub bytes: u64,
    /// Whether every write end is closed, so that no more bytes can follow.
    pub end_of_file: bool,
}

impl Stdout {
    /// Reads bytes into `buffer`, waits if there are none, and returns their number; 0 once every
    /// writer has closed the pipe. Cancel safe.
    ///
    /// # Errors
    /// The system's.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer).await
    }

    /// Reads what is left in the pipe after [`crate::Event::Exited`], and passes to `sink` at least
    /// every byte that was in the pipe at the moment of the call. Never waits, and returns even
    /// while a grandchild keeps writing. Tokio's own reads cannot do this: once tokio's readiness
    /// is cleared, they return "would block" although the pipe has bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn drain_available(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Drained> {
        drain(&self.pipe, sink)
    }
}

impl Stderr {
    /// Reads bytes of the CLI's stderr into `buffer`, as [`Stdout::read`] does.
    ///
    /// # Errors
    /// The system's.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer).await
    }

    /// Reads what is left in the stderr pipe after the CLI has ended, as
    /// [`Stdout::drain_available`] does.
    ///
    /// # Errors
    /// The system's.
    pub fn drain_available(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Drained> {
        drain(&self.pipe, sink)
    }
}

/// Implements [`Stdout::drain_available`] for either pipe.
fn drain(pipe: impl AsFd, mut sink: impl FnMut(&[u8])) -> io::Result<Drained> {
    let available = ioctl_fionread(&pipe)?;
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
                // Reading until end of file could run forever while a writer is left.
                if bytes > available {
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

/// Both ends of the CLI's stdin, stdout and stderr: those of claude-api, and those that the CLI
/// gets (`child_`).
pub(super) struct Pipes {
    pub(super) stdin: Stdin,
    pub(super) stdout: Stdout,
    pub(super) stderr: Stderr,
    pub(super) child_stdin: OwnedFd,
    pub(super) child_stdout: OwnedFd,
    pub(super) child_stderr: OwnedFd,
}

impl Pipes {
    /// Creates the pipes, with a capacity of `stdout_bytes` for stdout if the quota allows. Only
    /// our ends are non-blocking; the CLI's ends are separate open files and stay blocking.
    /// `sandboxed` says whether the CLI runs in the sandbox: its stdin is then a socket.
    pub(super) fn new(stdout_bytes: usize, sandboxed: bool) -> io::Result<Self> {
        let (child_stdin, stdin) = if sandboxed {
            stdin_socket()?
        } else {
            stdin_pipe()?
        };
        let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        // Beyond the user's quota this fails or the pipes are already small; both are fine.
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

/// Creates the CLI's stdin as a pipe, and returns the CLI's end and ours.
fn stdin_pipe() -> io::Result<(OwnedFd, StdinEnd)> {
    let (child, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&ours, SMALL_PIPE_BYTES);
    Ok((child, StdinEnd::Pipe(pipe::Sender::from_owned_fd(ours)?)))
}

/// Creates the CLI's stdin as a socket, which no other process can reopen, and returns the CLI's
/// end and ours.
fn stdin_socket() -> io::Result<(OwnedFd, StdinEnd)> {
    let (child, ours) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_send_buffer_size(&ours, SMALL_PIPE_BYTES)?;
    // Make writes of a tool to the CLI's stdin fail. Nothing reads them. If this end were closed
    // with unread bytes, the CLI would get an error instead of end of file (unix(7)).
    shutdown(&ours, Shutdown::Read)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((child, StdinEnd::Socket(UnixStream::from_std(ours.into())?)))
}
