//! The queue of a session's inputs, which are lines for the stdin of a CLI. They are sent to
//! claude-api one at a time and in the order received, because each begins at the offset where the
//! previous one ended. Their bytes and their number are bounded. Answers to questions count within
//! the same bounds, but wait for nothing here. Does no I/O.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::open_requests::Token;

/// The most bytes of inputs and answers in one session that claude-api has not answered (16 MiB).
/// An input beyond that is refused with -32004 (queue full, `too_many_unanswered`). A single input
/// is always admitted.
pub(super) const UNANSWERED_BYTES: usize = 16 * 1024 * 1024;
/// The most inputs and answers in one session that claude-api has not answered. At this limit the
/// session stops reading requests. The limit is needed besides the one on bytes, because even an
/// empty input costs memory.
const UNANSWERED: usize = 1024;

/// The inputs of one session that claude-api has not answered. One of them is being sent, and the
/// others wait in a queue or for an earlier execute.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// The input that is being sent to claude-api. `None` while no input is in flight.
    open: Option<Token>,
    /// The calls of inputs that are ready but wait for the previous input, oldest first.
    queue: VecDeque<(Token, Call)>,
    /// All unanswered inputs and answers, sent or waiting, each with its length in bytes.
    unanswered: HashMap<Token, usize>,
}

impl Inputs {
    /// Records a new input or answer of `bytes` bytes, and returns true. Returns false without
    /// recording it if the unanswered ones would exceed `UNANSWERED_BYTES`. Then the caller must
    /// refuse the request. One is always admitted when no other one is unanswered.
    pub(super) fn admit(&mut self, token: Token, bytes: usize) -> bool {
        let all: usize = self.unanswered.values().sum();
        let has_room = self.unanswered.is_empty() || all.saturating_add(bytes) <= UNANSWERED_BYTES;
        if has_room {
            self.unanswered.insert(token, bytes);
        }
        has_room
    }

    /// Returns whether this request is an unanswered input or answer.
    pub(super) fn has(&self, token: Token) -> bool {
        self.unanswered.contains_key(&token)
    }

    /// Returns whether so many inputs are unanswered that the session must stop reading requests.
    pub(super) fn is_full(&self) -> bool {
        self.unanswered.len() >= UNANSWERED
    }

    /// Returns all unanswered inputs and answers by request, each with its length in bytes.
    pub(super) fn unanswered(&self) -> &HashMap<Token, usize> {
        &self.unanswered
    }

    /// Adds the call of an admitted input to the queue. Returns the call if no other input is in
    /// flight, so the caller must start it now. Returns `None` if it has to wait, or if its request
    /// was refused in the meantime.
    pub(super) fn queue(&mut self, token: Token, call: Call) -> Option<(Token, Call)> {
        if !self.has(token) {
            // The input was refused while it waited.
            return None;
        }
        if self.open.is_some_and(|open| open != token) {
            self.queue.push_back((token, call));
            return None;
        }
        self.open = Some(token);
        Some((token, call))
    }

    /// Removes an answered input or answer, and returns the call of the next input, which the
    /// caller must start. Returns `None` if no input follows, if another input is still in flight,
    /// or if `token` is not an input.
    pub(super) fn answered(&mut self, token: Token) -> Option<(Token, Call)> {
        self.unanswered.remove(&token)?;
        if self.open != Some(token) {
            self.queue.retain(|(waiting, _)| *waiting != token);
            return None;
        }
        let next = self.queue.pop_front();
        self.open = next.as_ref().map(|(token, _)| *token);
        next
    }
}
