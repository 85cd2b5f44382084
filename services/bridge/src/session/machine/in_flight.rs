//! The calls of one session to claude-api that are under way. Calls that act or begin a view start
//! at once. Looks wait until their answers have room: so a claude-api that hangs delays no cancel,
//! and a client that does not read causes no more answers than it may hold. Pure.

use std::collections::{HashMap, VecDeque};

use super::action::Call;
use super::replies::Token;

/// The most waiting looks; with more, no further request is read.
const WAITING: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Open calls, each with the most bytes that its answer may have.
    open: HashMap<Token, usize>,
    bytes: usize,
    looks: VecDeque<(Token, Call)>,
}

/// Returns the most bytes that the answer of a call may have.
fn answer_bytes(call: &Call, status_bytes: usize) -> usize {
    match call {
        Call::List(..) | Call::Events(_) => protocol::SERVER_MESSAGE_BYTES,
        _ => status_bytes,
    }
}

impl Calls {
    /// Calls that have not come back.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the most bytes that the answers of all open calls may have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no more requests are to be read.
    pub(super) fn is_full(&self) -> bool {
        self.looks.len() >= WAITING
    }

    /// Notes that a call was sent.
    pub(super) fn begin(&mut self, token: Token, call: &Call, status_bytes: usize) {
        let bytes = answer_bytes(call, status_bytes);
        self.bytes += bytes - self.open.insert(token, bytes).unwrap_or_default();
    }

    /// Queues a look.
    pub(super) fn wait(&mut self, token: Token, call: Call) {
        self.looks.push_back((token, call));
    }

    /// Returns the most bytes that the answer of the first queued look may have.
    pub(super) fn next_look(&self, status_bytes: usize) -> Option<usize> {
        let (_, call) = self.looks.front()?;
        Some(answer_bytes(call, status_bytes))
    }

    /// Takes the first queued look.
    pub(super) fn take_look(&mut self) -> Option<(Token, Call)> {
        self.looks.pop_front()
    }

    /// Notes that a call was answered.
    pub(super) fn ended(&mut self, token: Token) {
        self.bytes -= self.open.remove(&token).unwrap_or_default();
    }
}
