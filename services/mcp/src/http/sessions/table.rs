//! The open sessions and their uses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::requests::Requests;

/// The open sessions. A session that is not in the table does not exist, even while the library
/// still ends it.
#[derive(Debug, Default)]
pub(super) struct Table {
    // A synchronous lock: held only to access the map, never across an await.
    open: Mutex<HashMap<SessionId, Entry>>,
}

/// An open session. Dropping it abandons the calls of the session.
#[derive(Debug)]
struct Entry {
    _slot: OwnedSemaphorePermit,
    requests: Requests,
    /// The number of open responses and running requests.
    uses: usize,
    idle_since: Instant,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.end();
    }
}

/// A use of a session. A session is idle when all its uses are dropped.
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
    /// Adds a new session.
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

    /// Registers a use of an open session. None if there is no such session.
    pub(super) fn enter(self: &Arc<Self>, id: &str) -> Option<Use> {
        let mut open = self.lock();
        let (id, _) = open.get_key_value(id)?;
        let id = id.clone();
        open.get_mut(&id)?.uses += 1;
        let table = self.clone();
        Some(Use { table, id })
    }

    /// Returns the requests of an open session.
    pub(super) fn requests(&self, id: &SessionId) -> Option<Requests> {
        Some(self.lock().get(id)?.requests.clone())
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// Removes the session that has been idle for the longest time.
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

    async fn table(ids: &[&str]) -> Arc<Table> {
        let table = Arc::new(Table::default());
        let slots = Arc::new(Semaphore::new(ids.len()));
        for id in ids {
            table.add((*id).into(), slots.clone().try_acquire_owned().unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        table
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_session_is_removed_first() {
        let table = table(&["first", "second", "third"]).await;
        drop(table.enter("first"));
        let removed: Vec<_> = std::iter::from_fn(|| table.remove_idle()).collect();
        assert_eq!(removed, ["second", "third", "first"].map(SessionId::from));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_in_use_is_not_idle() {
        let table = table(&["first", "second"]).await;
        let uses = [table.enter("first").unwrap(), table.enter("first").unwrap()];
        assert_eq!(table.remove_idle(), Some("second".into()));
        let [one, another] = uses;
        drop(one);
        assert_eq!(table.remove_idle(), None);
        drop(another);
        assert_eq!(table.remove_idle(), Some("first".into()));
        assert!(table.enter("first").is_none());
    }
}
