//! Pages of a list are the only large answers. A session has one at a time, from its call until the client has taken it, and
//! what the pages of all sessions hold together is bounded: a list is charged for the most that it may come to while it is asked
//! for, and then for what it is.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::action::Action;

/// What pages may hold in all sessions, in bytes: two of the largest, or some forty of the default length.
pub const BUDGET_BYTES: usize = 2 * 1001 * ENTRY_BYTES;
/// A status of a page, generously.
const ENTRY_BYTES: usize = 72 * 1024;
/// The contract's default `limit`.
const DEFAULT_LIMIT: u64 = 50;
/// A page of so many bytes is like any other answer.
const SMALL_BYTES: usize = 64 * 1024;

/// What a list is charged for before it is known, in bytes.
pub(super) fn most(limit: Option<u64>) -> u32 {
    let entries = limit.unwrap_or(DEFAULT_LIMIT).min(1000) + 1;
    u32::try_from(entries * ENTRY_BYTES as u64).unwrap_or(u32::MAX)
}

/// What a list has taken.
#[derive(Debug)]
pub struct Taken {
    /// Its turn among the lists of its session.
    pub(super) turn: OwnedSemaphorePermit,
    /// Its part of the budget.
    pub(super) charge: OwnedSemaphorePermit,
}

/// The pages of one session that the client has not taken yet.
#[derive(Debug)]
pub(super) struct Pages {
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    charges: Vec<OwnedSemaphorePermit>,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(1)),
            turn: None,
            charges: Vec::new(),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // Lists that wait for their turn: nobody will take them.
        self.turns.close();
    }
}

impl Pages {
    /// Where a list of this session gets its turn.
    pub(super) fn turns(&self) -> Arc<Semaphore> {
        self.turns.clone()
    }

    /// An answer was made of a page: these actions send it, or `held` bytes of it wait in a batch.
    pub(super) fn keep(&mut self, taken: Taken, actions: &[Action], held: usize) {
        let sent = actions.iter().map(|action| match action {
            Action::Send(text) => text.len(),
            _ => 0,
        });
        let bytes = sent.sum::<usize>().max(held);
        if bytes <= SMALL_BYTES {
            return;
        }
        let Taken { turn, mut charge } = taken;
        charge.split(charge.num_permits().saturating_sub(bytes));
        self.charges.push(charge);
        self.turn = Some(turn);
    }

    /// The client has taken all that was sent; `all`: and nothing waits in a batch.
    pub(super) fn sent(&mut self, all: bool) {
        self.turn = None;
        if all {
            self.charges.clear();
        }
    }
}
