//! The calls of one session to claude-api that are under way. What acts, or begins a view, is made at once; what only looks
//! waits for a place, so that a claude-api which does not answer holds up no cancel. Pure.

use std::collections::VecDeque;

use super::action::Call;
use super::replies::Token;

/// Calls under way, before more looks wait.
const OPEN: usize = 128;
/// Calls under way, before no more requests are read.
const MOST: usize = 2 * OPEN;
/// Looks that wait.
const WAITING: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Calls {
    open: usize,
    looks: VecDeque<(Token, Call)>,
}

impl Calls {
    /// Calls that have not come back.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Whether no more requests are to be read.
    pub(super) fn is_full(&self) -> bool {
        self.open >= MOST
    }

    /// The call to make now, if it need not wait.
    ///
    /// # Errors
    /// The limit, when too many wait.
    pub(super) fn begin(
        &mut self,
        token: Token,
        call: Call,
    ) -> Result<Option<(Token, Call)>, usize> {
        if !call.is_look() || self.open < OPEN {
            self.open += 1;
            return Ok(Some((token, call)));
        }
        if self.looks.len() >= WAITING {
            return Err(WAITING);
        }
        self.looks.push_back((token, call));
        Ok(None)
    }

    /// One came back; the call to make now.
    pub(super) fn ended(&mut self) -> Option<(Token, Call)> {
        self.open = self.open.saturating_sub(1);
        if self.open >= OPEN {
            return None;
        }
        let next = self.looks.pop_front();
        self.open += usize::from(next.is_some());
        next
    }
}
