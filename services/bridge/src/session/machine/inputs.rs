//! The inputs (lines for a CLI's stdin) of one session. They are sent to claude-api one at a time
//! in the order received, because each begins where the previous one ended. Their bytes and their
//! number are bounded. Pure.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::open_requests::Token;

/// The most bytes of inputs that claude-api has not answered, in one session.
pub(super) const UNANSWERED_BYTES: usize = 16 * 1024 * 1024;
/// The most inputs that claude-api has not answered, in one session. At this limit the session
/// reads no further request, because each input costs memory, however short it is.
const UNANSWERED: usize = 1024;

/// The inputs of one session that claude-api has not answered, as a queue.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// The input that is being sent to claude-api.
    open: Option<Token>,
    /// Inputs that wait for the previous one.
    queue: VecDeque<(Token, Call)>,
    /// All unanswered inputs, each with its length in bytes.
    unanswered: HashMap<Token, usize>,
}

impl Inputs {
    /// Records an input of `bytes` bytes. Returns false, and records nothing, if the unanswered
    /// inputs would become too long. A single input is always admitted.
    pub(super) fn admit(&mut self, token: Token, bytes: usize) -> bool {
        let all: usize = self.unanswered.values().sum();
        let has_room = self.unanswered.is_empty() || all.saturating_add(bytes) <= UNANSWERED_BYTES;
        if has_room {
            self.unanswered.insert(token, bytes);
        }
        has_room
    }

    /// Whether so many inputs are unanswered that the session must not read more requests.
    pub(super) fn is_full(&self) -> bool {
        self.unanswered.len() >= UNANSWERED
    }

    /// Returns the unanswered inputs, each with its length in bytes.
    pub(super) fn unanswered(&self) -> &HashMap<Token, usize> {
        &self.unanswered
    }

    /// Adds the call of an input to the queue. Returns the call if no other input is being sent, so
    /// that it starts immediately.
    pub(super) fn queue(&mut self, token: Token, call: Call) -> Option<(Token, Call)> {
        if !self.unanswered.contains_key(&token) {
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

    /// Forgets an answered input, and returns the call of the next one to send. Ignores the tokens
    /// of other requests.
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
