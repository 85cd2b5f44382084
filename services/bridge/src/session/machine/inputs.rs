//! The inputs of one session. They are sent to claude-api one at a time in the order received,
//! because each begins where the previous one ended. Their bytes and their number are bounded.
//! Pure.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::open_requests::Token;

/// The most bytes of unanswered inputs.
pub(super) const UNANSWERED_BYTES: usize = 16 * 1024 * 1024;
/// The most unanswered inputs. At this limit the session reads no further request, because each
/// input costs memory, however short it is.
const UNANSWERED: usize = 1024;

/// The unanswered inputs of one session.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// The input that is being sent to claude-api.
    open: Option<Token>,
    /// Inputs that wait for the previous one.
    queue: VecDeque<(Token, Call)>,
    /// All unanswered inputs, with their bytes.
    unanswered: HashMap<Token, usize>,
}

impl Inputs {
    /// Admits one more input, if there is room. A single input always has room.
    pub(super) fn admit(&mut self, token: Token, bytes: usize) -> bool {
        let all: usize = self.unanswered.values().sum();
        let has_room = self.unanswered.is_empty() || all.saturating_add(bytes) <= UNANSWERED_BYTES;
        if has_room {
            self.unanswered.insert(token, bytes);
        }
        has_room
    }

    /// Whether the session must not read more requests.
    pub(super) fn is_full(&self) -> bool {
        self.unanswered.len() >= UNANSWERED
    }

    /// Returns the unanswered inputs, with their bytes.
    pub(super) fn unanswered(&self) -> &HashMap<Token, usize> {
        &self.unanswered
    }

    /// Queues the call of an input, and returns it if it is its turn.
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

    /// Notes that an input was answered, and returns the call whose turn is next.
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
