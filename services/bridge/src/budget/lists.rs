//! The budget for lists and parts of events during their calls to claude-api.
//!
//! - When is it charged? When a list, or a request for events, has its turn in its session. The
//!   charge is released with the page, after `callMs` at most.
//! - Who waits for whom? A list of a session waits until the client has read the previous one. The
//!   lists of all sessions wait for memory in the order received, for `callMs` at most. All need
//!   the same amount, so the first one blocks no smaller one.
//! - What bounds the other direction? A finished page is an answer like any other
//!   ([`super::outbound`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Memory for the lists and events of all sessions, in bytes.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// The most statuses in one request to claude-api.
pub const STATUSES: u64 = 16;
/// The most memory of one status of a page, in bytes.
const ENTRY_BYTES: u32 = 72 * 1024;
/// The memory of one list, in bytes: a part, and the page gathered so far.
const LIST_BYTES: u32 = STATUSES as u32 * ENTRY_BYTES + protocol::SERVER_MESSAGE_BYTES as u32;
/// The size up to which a page is treated like any other answer, in bytes: the next list does not
/// wait until the client has read it.
const SMALL_BYTES: usize = 64 * 1024;

/// The budget for the lists of all sessions.
#[derive(Debug)]
pub struct ListBudget {
    bytes: Semaphore,
}

impl Default for ListBudget {
    fn default() -> Self {
        Self {
            bytes: Semaphore::new(BUDGET_BYTES),
        }
    }
}

impl ListBudget {
    /// Waits for the memory of one list. Returns None if none is free within `patience`.
    /// Cancel-safe.
    pub async fn take(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let bytes = self.bytes.acquire_many(LIST_BYTES);
        timeout(patience, bytes).await.ok()?.ok()
    }
}

/// The turn of one list or one part of events in its session, until dropped.
pub type ListTurn = OwnedSemaphorePermit;

/// The source of the turns of one session. It gives no more turns once the session has ended.
#[derive(Debug, Clone)]
pub struct ListTurns(Arc<Semaphore>);

impl ListTurns {
    /// Waits for a turn. Returns None if the session has ended. Cancel-safe.
    pub async fn take(self) -> Option<ListTurn> {
        self.0.acquire_owned().await.ok()
    }
}

/// The turns of the lists and events of one session: one at a time, until the client has read the
/// answer.
#[derive(Debug)]
pub struct SessionLists {
    turns: ListTurns,
    turn: Option<ListTurn>,
}

impl Default for SessionLists {
    fn default() -> Self {
        Self {
            turns: ListTurns(Arc::new(Semaphore::new(1))),
            turn: None,
        }
    }
}

impl Drop for SessionLists {
    fn drop(&mut self) {
        // The session has ended, so requests that wait for a turn are not made.
        self.turns.0.close();
    }
}

impl SessionLists {
    /// Returns the source of turns for a list or a request for events.
    #[must_use]
    pub fn turns(&self) -> ListTurns {
        self.turns.clone()
    }

    /// Keeps the turn of an answer until the client has read it. A page that waits in a batch (0
    /// bytes for now) delays no other list.
    pub fn keep(&mut self, turn: ListTurn, answer_bytes: usize) {
        if answer_bytes > SMALL_BYTES {
            self.turn = Some(turn);
        }
    }

    /// Notes that the socket has sent everything, so that the next list may have its turn.
    pub fn sent(&mut self) {
        self.turn = None;
    }
}
