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

/// The memory for the lists and events of all sessions together, in bytes.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// The most statuses that the bridge requests from claude-api at a time. A longer page is gathered
/// from several requests.
pub const STATUSES: u64 = 16;
/// The most memory that one status on a page needs, in bytes.
const ENTRY_BYTES: u32 = 72 * 1024;
/// The memory that one call for a list or for events is charged, in bytes: one part from
/// claude-api, and the page gathered so far.
const LIST_BYTES: u32 = STATUSES as u32 * ENTRY_BYTES + protocol::SERVER_MESSAGE_BYTES as u32;
/// The longest page that is treated like any other answer, in bytes. After a longer one, the next
/// list waits until the client has read it.
const SMALL_BYTES: usize = 64 * 1024;

/// The memory for lists and events during their calls to claude-api, over all sessions. Every call
/// is charged the same amount, 1.6 MiB.
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
    /// Waits until there is memory for one call, in the order of the calls. Returns `None` if there
    /// is none within `patience`. The permit releases the memory when dropped. Cancel-safe.
    pub async fn take(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let bytes = self.bytes.acquire_many(LIST_BYTES);
        timeout(patience, bytes).await.ok()?.ok()
    }
}

/// The permit of one list or one request for events to call claude-api. A session has one permit,
/// so its next list waits until this one is dropped.
pub type ListTurn = OwnedSemaphorePermit;

/// A handle with which the calls of a session wait for their turn. Once the session has ended, no
/// turn is given.
#[derive(Debug, Clone)]
pub struct ListTurns(Arc<Semaphore>);

impl ListTurns {
    /// Waits for the session's permit. Returns `None` if the session has ended. Cancel-safe.
    pub async fn take(self) -> Option<ListTurn> {
        self.0.acquire_owned().await.ok()
    }
}

/// The turns of the lists and events of one session. One is called at a time, and a long answer
/// keeps its turn until the client has read it. So a client that does not read cannot fill the
/// memory with lists.
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
    /// Returns a handle with which the call of a list or of events waits for its turn.
    #[must_use]
    pub fn turns(&self) -> ListTurns {
        self.turns.clone()
    }

    /// Keeps the turn of an answer over 64 KiB until [`Self::sent`]; a shorter answer releases it.
    /// `answer_bytes`: 0 for a page that waits for the rest of its batch, so it delays no other
    /// list.
    pub fn keep(&mut self, turn: ListTurn, answer_bytes: usize) {
        if answer_bytes > SMALL_BYTES {
            self.turn = Some(turn);
        }
    }

    /// Releases the turn that was kept, because the socket has sent the page. Now the next list may
    /// run.
    pub fn sent(&mut self) {
        self.turn = None;
    }
}
