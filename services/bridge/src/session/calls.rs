//! The calls of one session to claude-api that are under way. Calls that act or begin a view start
//! at once. Looks wait until their answers have room: so a claude-api that hangs delays no cancel,
//! and a client that does not read causes no more answers than it may hold. Pure.

use std::collections::{HashMap, VecDeque};

use super::action::Call;
use super::replies::Token;

/// Looks that wait, before no more requests are read.
const WAITING: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// With the bytes that the answer may come to.
    open: HashMap<Token, usize>,
    bytes: usize,
    looks: VecDeque<(Token, Call)>,
}

/// The most bytes that the answer of a call may come to.
fn answer_bytes(call: &Call, status_bytes: usize) -> usize {
    match call {
        Call::List(..) => protocol::SERVER_MESSAGE_BYTES,
        _ => status_bytes,
    }
}

impl Calls {
    /// Calls that have not come back.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The most bytes that their answers may come to.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no more requests are to be read.
    pub(super) fn is_full(&self) -> bool {
        self.looks.len() >= WAITING
    }

    /// A call is made.
    pub(super) fn begin(&mut self, token: Token, call: &Call, status_bytes: usize) {
        let bytes = answer_bytes(call, status_bytes);
        self.bytes += bytes - self.open.insert(token, bytes).unwrap_or_default();
    }

    /// A look waits.
    pub(super) fn wait(&mut self, token: Token, call: Call) {
        self.looks.push_back((token, call));
    }

    /// The most bytes that the answer of the first look that waits may come to.
    pub(super) fn next_look(&self, status_bytes: usize) -> Option<usize> {
        let (_, call) = self.looks.front()?;
        Some(answer_bytes(call, status_bytes))
    }

    /// The first look that waits.
    pub(super) fn take_look(&mut self) -> Option<(Token, Call)> {
        self.looks.pop_front()
    }

    /// One came back.
    pub(super) fn ended(&mut self, token: Token) {
        self.bytes -= self.open.remove(&token).unwrap_or_default();
    }
}
