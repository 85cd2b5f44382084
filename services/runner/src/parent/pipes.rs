//! The CLI's stdin, stdout and stderr, as claude-api writes and reads them.

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

/// The capacity of the pipes for stdin and stderr (16 KiB). stderr carries little, and stdin is
/// written once. Small pipes leave the user's quota of pipe memory (pipe(7)) to stdout. For a
/// socket, the kernel doubles this size (socket(7)).
const SMALL_PIPE_BYTES: usize = 16 << 10;

/// Writes to the CLI's stdin, without a buffer. Dropping this closes the stream, so the CLI reads
/// the end of file.
#[derive(Debug)]
pub struct Stdin(StdinEnd);

/// The kind of file through which the CLI's stdin is written: a pipe or a socket.
#[derive(Debug)]
enum StdinEnd {
    /// For a program that runs without a sandbox.
    Pipe(pipe::Sender),
    /// For a program in the sandbox. A process of the same user can reopen a pipe through
    /// `/proc/PID/fd/0`, so a tool could answer the CLI's own questions. A socket cannot be
    /// reopened (ENXIO).
    ///
    /// Other programs get a pipe. With a socket as its stdin, `bash -c` assumes that it is a remote
    /// shell and reads `~/.bashrc` (bash(1), "Invocation").
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

    /// Returns immediately, because neither a pipe nor a socket has a buffer here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Returns immediately and closes nothing. Drop the value to close the CLI's stdin.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads the CLI's stdout from a pipe, without a buffer.
#[derive(Debug)]
pub struct Stdout {
    /// The read end of the pipe.
    pipe: pipe::Receiver,
    /// The part of the pipe-memory quota that the enlarged pipe uses; `None` if the pipe was not
    /// enlarged.
    _share: Option<Share>,
}

/// Reads the CLI's stderr from a pipe, without a buffer.
#[derive(Debug)]
pub struct Stderr {
    /// The read end of the pipe.
    pipe: pipe::Receiver,
}

/// The result of reading what is left in a pipe after the CLI has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The number of bytes that were read and passed to the caller's `sink`.
    pub bytes: u64,
    /// Whether every process has closed its write end, so that no more bytes can follow. False
    /// while a process that the CLI left behind can still write.
    pub end_of_file: bool,
}

impl Stdout {
    /// Waits until the CLI has written to its stdout, reads up to `buffer.len()` bytes into
    /// `buffer`, and returns their number. 0 means the end of file: every writer has closed the
    /// pipe.
    ///
    /// # Errors
    /// The error of the operating system.
    ///
    /// # Cancellation
    /// Safe: a dropped call has read nothing.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer).await
    }

    /// Reads what is left in the pipe after [`crate::Event::Exited`], without waiting, and passes
    /// it to `sink`. Every byte that was in the pipe at the moment of the call is passed. Returns
    /// even while a process that the CLI left behind keeps writing.
    ///
    /// Tokio's own reads cannot do this. Once Tokio has noted that the pipe is not readable, they
    /// return "would block" although the pipe has bytes.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn drain_available(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Drained> {
        drain(&self.pipe, sink)
    }
}

impl Stderr {
    /// Waits until the CLI has written to its stderr, reads up to `buffer.len()` bytes into
    /// `buffer`, and returns their number. 0 means the end of file: every writer has closed the
    /// pipe.
    ///
    /// # Errors
    /// The error of the operating system.
    ///
    /// # Cancellation
    /// Safe: a dropped call has read nothing.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer).await
    }

    /// Reads what is left in the stderr pipe after the CLI has ended, without waiting, and passes
    /// it to `sink`. [`Stdout::drain_available`] describes the details.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn drain_available(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Drained> {
        drain(&self.pipe, sink)
    }
}

/// Reads from `pipe` until it is empty, at its end, or more bytes were read than it held at first.
/// Each chunk is passed to `sink`. Implements [`Stdout::drain_available`] for both pipes.
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

/// Both ends of the CLI's stdin, stdout and stderr. claude-api keeps the first three; the CLI gets
/// the ends whose names begin with `child_`.
pub(super) struct Pipes {
    pub(super) stdin: Stdin,
    pub(super) stdout: Stdout,
    pub(super) stderr: Stderr,
    pub(super) child_stdin: OwnedFd,
    pub(super) child_stdout: OwnedFd,
    pub(super) child_stderr: OwnedFd,
}

impl Pipes {
    /// Creates the pipes for the CLI's stdin, stdout and stderr. stdout gets a capacity of
    /// `stdout_bytes` if the user's quota of pipe memory allows it. If the CLI is `sandboxed`, its
    /// stdin is a socket.
    ///
    /// Only our ends are non-blocking. The CLI's ends are separate open files and stay blocking, as
    /// programs expect.
    ///
    /// # Errors
    /// The error of the operating system, for example EMFILE if no descriptor is free.
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

/// Creates the CLI's stdin as a pipe. Returns the CLI's end (for reading) and ours (for writing).
fn stdin_pipe() -> io::Result<(OwnedFd, StdinEnd)> {
    let (child, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&ours, SMALL_PIPE_BYTES);
    Ok((child, StdinEnd::Pipe(pipe::Sender::from_owned_fd(ours)?)))
}

/// Creates the CLI's stdin as a socket, which no other process can reopen through `/proc`. Returns
/// the CLI's end (for reading) and ours (for writing).
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
