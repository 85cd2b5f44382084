//! The runner's end of the control socket.

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

/// Lines in, lines out. Reading never blocks after the spec has come.
pub(super) struct Control {
    socket: OwnedFd,
    unread: Vec<u8>,
    ended: bool,
}

/// The spec is the only long message: arguments and environment, system prompts included. This refuses nonsense.
const LINE_LIMIT: usize = 8 << 20;

impl Control {
    /// Takes the socket from stdin and leaves `/dev/null` there.
    pub(super) fn from_stdin() -> io::Result<Self> {
        let socket = fcntl_dupfd_cloexec(stdin(), 3)?;
        dup2_stdin(dev_null()?)?;
        Ok(Self {
            socket,
            unread: Vec::new(),
            ended: false,
        })
    }

    /// Waits for the first command and the descriptor that comes with it; `None` at end of file.
    pub(super) fn receive_spec(&mut self) -> io::Result<Option<(Command, Option<OwnedFd>)>> {
        let mut passed = None;
        loop {
            if let Some(command) = self.next_line()? {
                return Ok(Some((command, passed)));
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
                    passed = passed.or(descriptors.into_iter().next());
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

    /// What has come since; empty if nothing has. A line that is no command is dropped: a newer claude-api may know
    /// more, and no unknown word is a reason to kill the execution.
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

    /// claude-api is gone, or has let go of this execution.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

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

    /// Reports without ever blocking: a claude-api that does not read must not keep the runner from its work. The
    /// socket holds hundreds of events, an execution makes a handful.
    pub(super) fn send(&self, event: &Event) {
        self.write(event, SendFlags::DONTWAIT);
    }

    /// The last event: this one waits until it is taken or claude-api is gone.
    pub(super) fn send_last(&self, event: &Event) {
        self.write(event, SendFlags::empty());
    }

    fn write(&self, event: &Event, flags: SendFlags) {
        send(&self.socket, event, flags);
    }

    /// Waits, before the CLI exists, for a command, the end of the socket or `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        // A failed wait counts as a short one: the caller has its own time limit.
        let _ = poll(
            &mut [PollFd::new(&self.socket, PollFlags::IN)],
            Some(&limit),
        );
    }
}

/// Sends one event as a line.
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
            // The peer is gone, or the buffer is full. The socket takes a short line whole or not
            // at all (unix(7)), so no line is torn.
            Err(_) => return,
        }
    }
}

/// `/dev/null`, for reading and writing.
pub(super) fn dev_null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
