//! The memory for lists of executions, and for parts of their events, while claude-api is being
//! called for them.
//!
//! - When is it charged? When a list, or a request for events, has its turn in its session. The
//!   charge is released with the page, after `callMs` at most.
//! - Who waits for whom? A list of a session waits until the client has read the previous one. The
//!   lists of all sessions wait for memory in the order received, for `callMs` at most. All need
//!   the same amount, so the first one blocks no smaller one. One principal uses half of it at
//!   most.
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
/// The longest page, in bytes, after which the session's next list may start immediately. After a
/// longer page, the next list waits until the client has read the page.
const SMALL_BYTES: usize = 64 * 1024;

/// The memory for lists and events while claude-api is being called for them, shared by all
/// sessions. Every call reserves the same amount, 1.6 MiB.
#[derive(Debug)]
pub struct ListBudget {
    bytes: Semaphore,
}

/// The half of the memory for lists and events that one principal may use.
#[derive(Debug)]
pub struct ListPart(Arc<Semaphore>);

impl Default for ListPart {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES / 2)))
    }
}

/// The memory of one call for a list or for events. Dropping it releases the memory.
#[derive(Debug)]
pub struct ListMemory<'a> {
    _all: SemaphorePermit<'a>,
    _of_principal: Option<OwnedSemaphorePermit>,
}

impl Default for ListBudget {
    fn default() -> Self {
        Self {
            bytes: Semaphore::new(BUDGET_BYTES),
        }
    }
}

impl ListBudget {
    /// Waits until there is memory for one call, in the order of the callers, and also in the part
    /// of the client's principal. Returns `None` if there is none within `patience` (`callMs`).
    /// Cancel-safe.
    pub async fn take(
        &self,
        of_principal: Option<&ListPart>,
        patience: Duration,
    ) -> Option<ListMemory<'_>> {
        let acquire = async {
            let of_principal = match of_principal {
                // The part first, so that a principal without room in it blocks nobody.
                Some(ListPart(part)) => {
                    let part = part.clone().acquire_many_owned(LIST_BYTES);
                    Some(part.await.ok()?)
                }
                None => None,
            };
            Some(ListMemory {
                _all: self.bytes.acquire_many(LIST_BYTES).await.ok()?,
                _of_principal: of_principal,
            })
        };
        timeout(patience, acquire).await.ok()?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lists_of_one_principal_leave_memory_for_another() {
        let budget = ListBudget::default();
        let [a, b] = [(); 2].map(|()| ListPart::default());
        let soon = Duration::from_millis(20);
        let mut held = Vec::new();
        while let Some(memory) = budget.take(Some(&a), soon).await {
            held.push(memory);
        }
        assert_eq!(held.len(), BUDGET_BYTES / 2 / LIST_BYTES as usize);
        assert!(budget.take(Some(&b), soon).await.is_some());
        held.clear();
        assert!(budget.take(Some(&a), soon).await.is_some());
    }
}
