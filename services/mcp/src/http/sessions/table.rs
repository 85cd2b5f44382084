//! The table of open MCP sessions over HTTP, which records which of them are idle.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::transport::streamable_http_server::session::SessionId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::caller::Owner;
use crate::owner_counts::OwnerUse;
use crate::requests::Requests;

/// The open MCP sessions by id. For clients, a session that is not in this table does not exist,
/// even while the MCP library is still ending it.
#[derive(Debug, Default)]
pub(super) struct Table {
    // A synchronous lock: held only to access the map, never across an await.
    open: Mutex<HashMap<SessionId, Entry>>,
}

/// A slot of the limited number of sessions, with the owner of the session. Dropping it lets
/// another session begin.
#[derive(Debug)]
pub(super) struct Slot {
    owner: Owner,
    _permit: OwnedSemaphorePermit,
    _of_owner: OwnerUse,
}

impl Slot {
    /// Creates the slot of a new session from its permits.
    pub(super) fn new(owner: Owner, permit: OwnedSemaphorePermit, of_owner: OwnerUse) -> Self {
        Self {
            owner,
            _permit: permit,
            _of_owner: of_owner,
        }
    }

    /// Returns the owner of the session.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }
}

/// An open MCP session with its slot (permit). Dropping the entry releases the slot and ends the
/// calls of the session early.
#[derive(Debug)]
struct Entry {
    slot: Slot,
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

/// An MCP session that belongs to another owner. For the client it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct ForeignSession;

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
    pub(super) fn add(&self, id: SessionId, slot: Slot) {
        let entry = Entry {
            slot,
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
    ///
    /// # Errors
    /// The session belongs to another owner.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: &str,
        owner: &Owner,
    ) -> Result<Option<Use>, ForeignSession> {
        let mut open = self.lock();
        let Some((id, entry)) = open.get_key_value(id) else {
            return Ok(None);
        };
        if entry.slot.owner != *owner {
            return Err(ForeignSession);
        }
        let id = id.clone();
        if let Some(entry) = open.get_mut(&id) {
            entry.uses += 1;
        }
        drop(open);
        let table = self.clone();
        Ok(Some(Use { table, id }))
    }

    /// Returns the set of an open session's requests that have no answer yet. `None` if there is no
    /// session with this id.
    pub(super) fn requests(&self, id: &SessionId) -> Option<Requests> {
        Some(self.lock().get(id)?.requests.clone())
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// Removes an idle session for a new one of this owner, and returns its id. It is the session
    /// that has been idle for the longest time, of the principal with the most sessions. With
    /// `only_own`, it is a session that counts for the same limit as the new one. If no other
    /// principal has more sessions than this one, it is a session of the same principal. `None` if
    /// there is no such session.
    pub(super) fn remove_idle(&self, owner: &Owner, only_own: bool) -> Option<SessionId> {
        let mut open = self.lock();
        let mut counts: HashMap<Option<&Arc<str>>, usize> = HashMap::new();
        for entry in open.values() {
            *counts.entry(entry.slot.owner.quota()).or_default() += 1;
        }
        let count_of = |owner: &Owner| counts.get(&owner.quota()).copied().unwrap_or_default();
        // The new session counts: an exchange between equals would never end.
        let own = count_of(owner) + 1;
        let may_end = |entry: &Entry| {
            let other = &entry.slot.owner;
            match only_own {
                true => owner.counts_with(other),
                false => owner.may_end(other) || count_of(other) > own,
            }
        };
        let idle = open.iter().filter(|(_, entry)| entry.uses == 0);
        let (id, _) = idle
            .filter(|(_, entry)| may_end(entry))
            .max_by_key(|(_, entry)| (count_of(&entry.slot.owner), Reverse(entry.idle_since)))?;
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
    use crate::caller::Caller;
    use crate::owner_counts::OwnerCounts;

    fn owner(name: &str) -> Owner {
        Owner::from(&Caller {
            principal: Some(name.into()),
            ..Caller::default()
        })
    }

    /// Sessions of these owners that have been idle for 3 ms, 2 ms and so on.
    fn table_of<const N: usize>(ids: [(&str, &Owner); N]) -> Arc<Table> {
        let table = Arc::new(Table::default());
        let places = Arc::new(Semaphore::new(N));
        let counts = OwnerCounts::new(N);
        let now = Instant::now();
        for ((id, owner), idle_ms) in ids.into_iter().zip((1..=N as u64).rev()) {
            let slot = Slot {
                owner: owner.clone(),
                _permit: places.clone().try_acquire_owned().unwrap(),
                _of_owner: counts.begin(owner).unwrap(),
            };
            table.add(id.into(), slot);
            let idle_since = now - Duration::from_millis(idle_ms);
            table.lock().get_mut(id).unwrap().idle_since = idle_since;
        }
        table
    }

    fn enter(table: &Arc<Table>, id: &str) -> Option<Use> {
        table.enter(id, &Owner::default()).unwrap()
    }

    fn remove_idle(table: &Table) -> Option<SessionId> {
        table.remove_idle(&Owner::default(), false)
    }

    #[test]
    fn the_session_that_is_idle_longest_goes_first() {
        let all = &Owner::default();
        let table = table_of([("first", all), ("second", all), ("third", all)]);
        drop(enter(&table, "first"));
        let gone: Vec<_> = std::iter::from_fn(|| remove_idle(&table)).collect();
        assert_eq!(gone, ["second", "third", "first"].map(SessionId::from));
    }

    #[test]
    fn a_session_in_use_is_not_idle() {
        let all = &Owner::default();
        let table = table_of([("first", all), ("second", all)]);
        let [one, another] = [enter(&table, "first"), enter(&table, "first")];
        assert_eq!(remove_idle(&table), Some("second".into()));
        drop(one);
        assert_eq!(remove_idle(&table), None);
        drop(another);
        assert_eq!(remove_idle(&table), Some("first".into()));
        assert!(enter(&table, "first").is_none());
    }

    #[test]
    fn a_session_does_not_exist_for_another_owner() {
        let (a, b) = (owner("a"), owner("b"));
        let table = table_of([("first", &a)]);
        assert_eq!(table.enter("first", &b).unwrap_err(), ForeignSession);
        assert!(table.enter("first", &a).unwrap().is_some());
        assert!(table.enter("second", &b).unwrap().is_none());
        assert_eq!(table.lock()["first"].uses, 0);
        let share = Owner::from(&Caller {
            principal: Some("a".into()),
            share: Some(protocol::ExecutionId::random()),
            token: None,
            quota: None,
        });
        assert!(table.enter("first", &share).is_err());
        // The holder of a share ends no session of its principal.
        assert_eq!(table.remove_idle(&share, true), None);
        let token = Owner::from(&Caller {
            token: "another".parse().ok(),
            principal: Some("a".into()),
            ..Caller::default()
        });
        assert!(table.enter("first", &token).is_err());
        assert_eq!(table.remove_idle(&token, true), Some("first".into()));
    }

    #[test]
    fn a_principal_ends_a_session_of_its_share_only_when_all_slots_are_in_use() {
        let a = owner("a");
        let share = Owner::from(&Caller {
            share: Some(protocol::ExecutionId::random()),
            quota: Some("a".into()),
            ..Caller::default()
        });
        let table = table_of([("of the share", &share), ("own", &a)]);
        assert_eq!(table.remove_idle(&a, true), Some("own".into()));
        assert_eq!(table.remove_idle(&a, true), None, "it would make no room");
        assert_eq!(table.remove_idle(&a, false), Some("of the share".into()));
    }

    #[test]
    fn only_an_owner_with_more_sessions_loses_one_for_another() {
        let (a, b, c) = (&owner("a"), &owner("b"), &owner("c"));
        let table = table_of([("b1", b), ("a1", a), ("a2", a), ("a3", a)]);
        assert_eq!(table.remove_idle(c, true), None, "c has no session");
        assert_eq!(table.remove_idle(c, false), Some("a1".into()));
        assert_eq!(table.remove_idle(c, false), Some("a2".into()));
        assert_eq!(table.remove_idle(c, false), None, "all have one");
        assert_eq!(table.remove_idle(b, false), Some("b1".into()), "its own");
    }
}
