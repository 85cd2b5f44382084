//! The inputs of one session. They go to claude-api one at a time in the order received, because
//! each begins where the one before it ended. Their bytes and their number are bounded. Pure.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::open_requests::Token;

/// The most bytes of inputs without an answer.
pub(super) const UNANSWERED_BYTES: usize = 16 * 1024 * 1024;
/// The most inputs without an answer. With more, no further request is read: each costs memory,
/// however short it is.
const UNANSWERED: usize = 1024;

/// The inputs of one session without an answer.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// The input that is being sent to claude-api.
    open: Option<Token>,
    /// Inputs that wait for the one before.
    queue: VecDeque<(Token, Call)>,
    /// All inputs without an answer, with their bytes.
    held: HashMap<Token, usize>,
}

impl Inputs {
    /// Admits one more input, if there is room. An input alone always has room.
    pub(super) fn admit(&mut self, token: Token, bytes: usize) -> bool {
        let all: usize = self.held.values().sum();
        let room = self.held.is_empty() || all.saturating_add(bytes) <= UNANSWERED_BYTES;
        if room {
            self.held.insert(token, bytes);
        }
        room
    }

    /// Whether no more requests are to be read.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= UNANSWERED
    }

    /// Returns the inputs without an answer, with their bytes.
    pub(super) fn held(&self) -> &HashMap<Token, usize> {
        &self.held
    }

    /// Queues the call of an input, and returns it if it is its turn.
    pub(super) fn queue(&mut self, token: Token, call: Call) -> Option<(Token, Call)> {
        if !self.held.contains_key(&token) {
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

    /// Notes that an input was answered, and returns the call whose turn it is then.
    pub(super) fn answered(&mut self, token: Token) -> Option<(Token, Call)> {
        self.held.remove(&token)?;
        if self.open != Some(token) {
            self.queue.retain(|(waiting, _)| *waiting != token);
            return None;
        }
        let next = self.queue.pop_front();
        self.open = next.as_ref().map(|(token, _)| *token);
        next
    }
}
