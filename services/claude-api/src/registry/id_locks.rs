//! Locks of execution ids, so that one task at a time decides whether an id exists.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use protocol::ExecutionId;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The held lock of one execution id, required to accept or burn that id. Dropping it releases the
/// lock.
#[derive(Debug)]
pub struct IdLock {
    // Dropped before the use, which removes a lock that nobody needs any more.
    _lock: OwnedMutexGuard<()>,
    lock_use: LockUse,
}

impl IdLock {
    /// Returns the execution id that is locked.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.lock_use.id
    }
}

/// The locks of all execution ids. A task locks an id before it accepts or burns the id, and
/// unlocks it by dropping the [`IdLock`]. Clones share the locks.
///
/// A lock exists while a task holds it or waits for it, so the open requests bound the memory.
/// Tasks get a lock in the order in which they requested it, and wait only for tasks with the same
/// id. A task never acquires a second lock while it holds one, so there is no deadlock.
#[derive(Debug, Clone, Default)]
pub(super) struct IdLocks {
    // Held to find or remove a lock; no await happens inside.
    locks: Arc<std::sync::Mutex<HashMap<ExecutionId, Arc<Mutex<()>>>>>,
}

/// One task that holds or waits for a lock. Dropping the last one of an id removes its lock.
#[derive(Debug)]
struct LockUse {
    locks: IdLocks,
    id: ExecutionId,
    lock: Arc<Mutex<()>>,
}

impl IdLocks {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<ExecutionId, Arc<Mutex<()>>>) -> T) -> T {
        act(&mut self.locks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the lock of an id and acquires it. Cancel safe: a dropped future holds no lock.
    pub(super) async fn lock(&self, id: ExecutionId) -> IdLock {
        let lock = self.with(|locks| Arc::clone(locks.entry(id).or_default()));
        let lock_use = LockUse {
            locks: self.clone(),
            id,
            lock,
        };
        IdLock {
            _lock: Arc::clone(&lock_use.lock).lock_owned().await,
            lock_use,
        }
    }

    /// Waits until every lock that is held now has been released; later holders are not waited for.
    /// Cancel safe.
    pub(super) async fn wait_for_all(&self) {
        let ids: Vec<_> = self.with(|locks| locks.keys().copied().collect());
        for id in ids {
            drop(self.lock(id).await);
        }
    }
}

impl Drop for LockUse {
    fn drop(&mut self) {
        self.locks.with(|locks| {
            // One count is the table's, one is this use's.
            if Arc::strong_count(&self.lock) == 2 {
                locks.remove(&self.id);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_the_same_id_waits_and_no_lock_is_left() {
        let locks = IdLocks::new();
        let lock = |n: u128| locks.lock(uuid::Uuid::from_u128(n).into());
        let held = lock(1).now_or_never().unwrap();
        let other = lock(2).now_or_never().unwrap();
        let mut waiting = Box::pin(lock(1));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(lock(1).now_or_never().is_none(), "a cancelled wait");
        drop(held);
        let again = waiting.now_or_never().unwrap();
        assert_eq!(locks.with(|locks| locks.len()), 2);
        let mut cancelled = Box::pin(lock(2));
        assert!((&mut cancelled).now_or_never().is_none());
        drop(other);
        drop(cancelled);
        drop(again);
        assert_eq!(locks.with(|locks| locks.len()), 0);
    }
}
