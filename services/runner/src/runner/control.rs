//! The runner's end of the control socket, from which it receives commands of claude-api, and to
//! which it sends events (reports).

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::{Errno, fcntl_dupfd_cloexec},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recv, recvmsg},
    stdio::{dup2_stdin, stdin},
};

use crate::wire::{Command, Event};

/// The runner's end of the socket to claude-api. Receives commands and sends events, both as JSON
/// lines. Reads never block once the spec (the program to run) has arrived.
pub(super) struct ControlSocket {
    /// The runner's end of the socket.
    socket: OwnedFd,
    /// Bytes that were received but not parsed yet. They may end in the middle of a line.
    unread: Vec<u8>,
    /// Whether claude-api has ended or closed its end of the socket.
    ended: bool,
}

/// The longest spec that a runner accepts, in bytes (8 MiB). A spec holds the program's arguments
/// and environment, including system prompts. The limit bounds memory if the bytes are no spec.
const LINE_LIMIT: usize = 8 << 20;

impl ControlSocket {
    /// Takes the socket that claude-api passed as stdin, and replaces stdin by `/dev/null`, so that
    /// the CLI does not inherit the socket.
    ///
    /// # Errors
    /// The error of the operating system if a descriptor cannot be duplicated.
    pub(super) fn from_stdin() -> io::Result<Self> {
        let socket = fcntl_dupfd_cloexec(stdin(), 3)?;
        dup2_stdin(dev_null()?)?;
        Ok(Self {
            socket,
            unread: Vec::new(),
            ended: false,
        })
    }

    /// Waits for the first command, which is the spec (the program to run), and for the descriptor
    /// of the CLI's stdin that is sent with it. `None` if claude-api closes the socket before the
    /// command is complete. The inner `None` means that no descriptor arrived.
    ///
    /// # Errors
    /// The command is malformed or longer than 8 MiB, or the error of the operating system.
    pub(super) fn receive_spec(&mut self) -> io::Result<Option<(Command, Option<OwnedFd>)>> {
        let mut received_fd = None;
        loop {
            if let Some(command) = self.next_line()? {
                return Ok(Some((command, received_fd)));
            }
            let mut bytes = vec![0; 64 << 10];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let count = match recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                flags,
            ) {
                Ok(message) => message.bytes,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    received_fd = received_fd.or(descriptors.into_iter().next());
                }
            }
            if count == 0 {
                return Ok(None);
            }
            self.unread.extend_from_slice(&bytes[..count]);
            if self.unread.len() > LINE_LIMIT {
                return Err(io::Error::other("the spec is too long"));
            }
        }
    }

    /// Returns the commands received since the last call, without waiting; empty if there are none.
    /// A malformed or unknown command is skipped. A newer claude-api may send commands that this
    /// runner does not know, and they must not end the execution.
    pub(super) fn receive(&mut self) -> Vec<Command> {
        let mut bytes = [0; 4096];
        loop {
            match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    self.ended = true;
                    break;
                }
                Ok((_, count)) => self.unread.extend_from_slice(&bytes[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.ended = true;
                    break;
                }
            }
        }
        let mut commands = Vec::new();
        loop {
            match self.next_line() {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => return commands,
                Err(_) => {}
            }
        }
    }

    /// Whether claude-api has ended or closed this socket. The runner then kills the execution.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Returns the descriptor of the socket, to wait with poll(2) until a command arrives.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Parses and removes the first complete line of the received bytes. `None` if no line is
    /// complete.
    ///
    /// # Errors
    /// The line is not a command. It is removed all the same.
    fn next_line(&mut self) -> io::Result<Option<Command>> {
        let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let rest = self.unread.split_off(end + 1);
        let line = std::mem::replace(&mut self.unread, rest);
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(io::Error::other)
    }

    /// Sends an event to claude-api without waiting, and drops it if the socket is full. A
    /// claude-api that does not read must not stop the runner's work. The socket has room for
    /// hundreds of events, and an execution has only a few.
    pub(super) fn send(&self, event: &Event) {
        self.write(event, SendFlags::DONTWAIT);
    }

    /// Sends the last event to claude-api. Waits until the socket has room or claude-api has ended,
    /// so that the report of the end is not dropped.
    pub(super) fn send_last(&self, event: &Event) {
        self.write(event, SendFlags::empty());
    }

    /// Sends one event with `flags`; the free function `send` describes their effect.
    fn write(&self, event: &Event, flags: SendFlags) {
        send(&self.socket, event, flags);
    }

    /// Waits until a command arrives, the socket is closed, or `limit` has passed. Used between two
    /// attempts to start the CLI.
    pub(super) fn wait(&self, limit: Duration) {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        // A failed wait only ends early; the caller has its own time limit.
        let _ = poll(
            &mut [PollFd::new(&self.socket, PollFlags::IN)],
            Some(&limit),
        );
    }
}

/// Sends one event to claude-api as a JSON line. With `DONTWAIT` in `flags`, the event is dropped
/// if the socket is full; without it, this waits for room. The event is also dropped if the socket
/// is closed.
pub(super) fn send(socket: &OwnedFd, event: &Event, flags: SendFlags) {
    let Ok(mut line) = serde_json::to_vec(event) else {
        return;
    };
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::net::send(socket, rest, flags | SendFlags::NOSIGNAL) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            // The peer closed the socket, or the buffer is full. The socket accepts a short line
            // whole or not at all (unix(7)), so no line is torn.
            Err(_) => return,
        }
    }
}

/// Opens `/dev/null` for reading and writing. It replaces descriptors that the CLI must not use.
pub(super) fn dev_null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
