//! The inputs of one session: handed to claude-api one at a time, in the order received, as each begins where the one before
//! it ended. Their bytes and their number are bounded. Pure.

use std::collections::{HashMap, VecDeque};

use super::action::Call;
use super::replies::Token;

/// Bytes of inputs that are not answered yet.
pub(super) const UNANSWERED_BYTES: usize = 16 * 1024 * 1024;
/// Inputs that are not answered yet, before no more requests are read: each costs memory, however
/// short it is.
const UNANSWERED: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Inputs {
    open: Option<Token>,
    queue: VecDeque<(Token, Call)>,
    held: HashMap<Token, usize>,
}

impl Inputs {
    /// Whether there is room for one more. One alone always has.
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

    /// Those that are not answered yet, and their bytes.
    pub(super) fn held(&self) -> &HashMap<Token, usize> {
        &self.held
    }

    /// The call to make now, if it is this one's turn.
    pub(super) fn ask(&mut self, token: Token, call: Call) -> Option<(Token, Call)> {
        if !self.held.contains_key(&token) {
            // It was refused while it waited.
            return None;
        }
        if self.open.is_some_and(|open| open != token) {
            self.queue.push_back((token, call));
            return None;
        }
        self.open = Some(token);
        Some((token, call))
    }

    /// This one is answered; the call whose turn it is then.
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
