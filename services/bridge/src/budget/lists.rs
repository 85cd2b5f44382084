//! The memory for lists of executions, and for parts of their events, while claude-api is being
//! called for them.
//!
//! - When is it charged? When a list, or a request for events, has its turn in its session. The
//!   charge is released with the page, after `callMs` at most.
//! - Who waits for whom? A list of a session waits until the client has read the previous one. The
//!   lists of all sessions wait for memory in the order received, for `callMs` at most. All need
//!   the same amount, so the first one blocks no smaller one. A principal has at most half of the
//!   memory, and only its own lists wait for that part (`principals`).
//! - What bounds the other direction? A finished page is an answer like any other
//!   (`outbound`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The memory for the lists and events of all sessions together, in bytes. It is enough for about
/// 40 calls at the same time.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// The most statuses that the bridge requests from claude-api in one call. A longer page is
/// gathered from several calls, so that each call needs little memory.
pub const STATUSES: u64 = 16;
/// The most memory that one status on a page needs, in bytes. A status is at most 64 KiB of JSON.
const ENTRY_BYTES: u32 = 72 * 1024;
/// The memory that is reserved for one call for a list or for events, in bytes. It holds one part
/// from claude-api, and the page gathered so far.
const LIST_BYTES: u32 = STATUSES as u32 * ENTRY_BYTES + protocol::SERVER_MESSAGE_BYTES as u32;
/// The most calls at the same time.
pub(super) const LISTS: usize = BUDGET_BYTES / LIST_BYTES as usize;
/// The longest page, in bytes, after which the session's next list may start immediately. After a
/// longer page, the next list waits until the client has read the page.
const SMALL_BYTES: usize = 64 * 1024;

/// The memory for lists and events while claude-api is being called for them, shared by all
/// sessions. Every call reserves the same amount, 1.6 MiB.
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
    /// Waits until there is memory for one call, in the order of the callers. Returns `None` if
    /// there is none within `wait_step`. Dropping the permit releases the memory. Cancel-safe.
    pub async fn take(&self, wait_step: Duration) -> Option<SemaphorePermit<'_>> {
        let bytes = self.bytes.acquire_many(LIST_BYTES);
        timeout(wait_step, bytes).await.ok()?.ok()
    }
}

/// The permission of one call for a list or for events to use claude-api. Each session has only
/// one, so the session's next list waits until this one is dropped.
pub type ListTurn = OwnedSemaphorePermit;

/// A handle on which the calls of one session wait for their turn. Calls that still wait when the
/// session ends get no turn.
#[derive(Debug, Clone)]
pub struct ListTurns(Arc<Semaphore>);

impl ListTurns {
    /// Waits until the session's earlier list is done. Returns `None` if the session has ended, and
    /// then the call is not made. Cancel-safe.
    pub async fn take(self) -> Option<ListTurn> {
        self.0.acquire_owned().await.ok()
    }
}

/// Runs the calls for lists and events of one session one at a time. After a long answer, the next
/// call waits until the client has read the answer. So a client that does not read cannot fill the
/// memory with lists.
#[derive(Debug)]
pub struct SessionLists {
    /// The handle on which calls wait. It holds one permit.
    turns: ListTurns,
    /// The turn of a long answer that the client has not read yet; `None` if there is none.
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
    /// Returns a handle on which the session's next call for a list or for events waits for its
    /// turn.
    #[must_use]
    pub fn turns(&self) -> ListTurns {
        self.turns.clone()
    }

    /// Ends the turn of a call whose answer is ready. An answer over 64 KiB keeps the turn until
    /// the socket has sent it ([`Self::sent`]). A shorter answer releases the turn immediately.
    /// `answer_bytes` is the length of the answer. It is 0 for a page that waits for the rest of
    /// its batch, so that the page delays no other list.
    pub fn keep(&mut self, turn: ListTurn, answer_bytes: usize) {
        if answer_bytes > SMALL_BYTES {
            self.turn = Some(turn);
        }
    }

    /// Releases the turn of a long answer, because the socket has sent it. The session's next list
    /// may then start. Does nothing if no turn was kept.
    pub fn sent(&mut self) {
        self.turn = None;
    }
}
