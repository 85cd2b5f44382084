//! The table of open MCP sessions over HTTP, which records which of them are idle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::requests::Requests;

/// The open MCP sessions by id. For clients, a session that is not in this table does not exist,
/// even while the MCP library is still ending it.
#[derive(Debug, Default)]
pub(super) struct Table {
    // A synchronous lock: held only to access the map, never across an await.
    open: Mutex<HashMap<SessionId, Entry>>,
}

/// An open MCP session with its slot (permit). Dropping the entry releases the slot and ends the
/// calls of the session early.
#[derive(Debug)]
struct Entry {
    _slot: OwnedSemaphorePermit,
    requests: Requests,
    /// The number of open responses and running requests. The session is idle while it is 0.
    uses: usize,
    idle_since: Instant,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.end();
    }
}

/// A guard that marks an MCP session as in use, by an open response or a running request. The
/// session is idle when all its guards are dropped.
#[derive(Debug)]
pub(in crate::http) struct Use {
    table: Arc<Table>,
    id: SessionId,
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Some(entry) = self.table.lock().get_mut(&self.id) {
            entry.uses -= 1;
            entry.idle_since = Instant::now();
        }
    }
}

impl Table {
    /// Adds a new session, which holds this slot until it is removed from the table.
    pub(super) fn add(&self, id: SessionId, slot: OwnedSemaphorePermit) {
        let entry = Entry {
            _slot: slot,
            requests: Requests::default(),
            uses: 0,
            idle_since: Instant::now(),
        };
        self.lock().insert(id, entry);
    }

    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.lock().contains_key(id)
    }

    /// Marks an open session as in use until the returned guard is dropped. `None` if there is no
    /// session with this id.
    pub(super) fn enter(self: &Arc<Self>, id: &str) -> Option<Use> {
        let mut open = self.lock();
        let (id, _) = open.get_key_value(id)?;
        let id = id.clone();
        open.get_mut(&id)?.uses += 1;
        let table = self.clone();
        Some(Use { table, id })
    }

    /// Returns the set of an open session's requests that have no answer yet. `None` if there is no
    /// session with this id.
    pub(super) fn requests(&self, id: &SessionId) -> Option<Requests> {
        Some(self.lock().get(id)?.requests.clone())
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// Removes the session that has been idle for the longest time, and returns its id. `None` if
    /// no session is idle.
    pub(super) fn remove_idle(&self) -> Option<SessionId> {
        let mut open = self.lock();
        let idle = open.iter().filter(|(_, entry)| entry.uses == 0);
        let (id, _) = idle.min_by_key(|(_, entry)| entry.idle_since)?;
        let id = id.clone();
        open.remove(&id);
        Some(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    /// Sessions that have been idle for 3 ms, 2 ms and so on.
    fn table<const N: usize>(ids: [&str; N]) -> Arc<Table> {
        let table = Arc::new(Table::default());
        let places = Arc::new(Semaphore::new(N));
        let now = Instant::now();
        for (id, idle_ms) in ids.into_iter().zip((1..=N as u64).rev()) {
            table.add(id.into(), places.clone().try_acquire_owned().unwrap());
            let idle_since = now - Duration::from_millis(idle_ms);
            table.lock().get_mut(id).unwrap().idle_since = idle_since;
        }
        table
    }

    #[test]
    fn the_session_that_is_idle_longest_goes_first() {
        let table = table(["first", "second", "third"]);
        drop(table.enter("first"));
        let gone: Vec<_> = std::iter::from_fn(|| table.remove_idle()).collect();
        assert_eq!(gone, ["second", "third", "first"].map(SessionId::from));
    }

    #[test]
    fn a_session_in_use_is_not_idle() {
        let table = table(["first", "second"]);
        let [one, another] = [table.enter("first").unwrap(), table.enter("first").unwrap()];
        assert_eq!(table.remove_idle(), Some("second".into()));
        drop(one);
        assert_eq!(table.remove_idle(), None);
        drop(another);
        assert_eq!(table.remove_idle(), Some("first".into()));
        assert!(table.enter("first").is_none());
    }
}
