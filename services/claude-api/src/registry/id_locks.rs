//! Locks of execution ids, so that one task at a time decides whether an id exists.

use std::sync::Arc;

use protocol::ExecutionId;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The number of locks. Ids share them by their first byte modulo this number: 64 are enough to
/// make waiting for an unrelated id rare, and their memory is fixed.
const STRIPES: usize = 64;

/// The held lock of one execution id, required to accept or burn that id. Dropping it releases the
/// lock.
#[derive(Debug)]
pub struct IdLock {
    id: ExecutionId,
    _lock: OwnedMutexGuard<()>,
}

impl IdLock {
    /// Returns the execution id that is locked.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.id
    }
}

/// The locks of all execution ids. A task locks an id before it accepts or burns the id, and
/// unlocks it by dropping the [`IdLock`].
///
/// All ids share 64 locks, so the memory is fixed, and an id may have to wait for an unrelated one.
/// Tasks get a lock in the order in which they requested it. A task never acquires a second lock
/// while it holds one, so there is no deadlock.
#[derive(Debug)]
pub(super) struct IdLocks(Vec<Arc<Mutex<()>>>);

impl IdLocks {
    pub(super) fn new() -> Self {
        Self((0..STRIPES).map(|_| Arc::default()).collect())
    }

    /// Waits for the lock of an id and acquires it. Cancel safe: a dropped future holds no lock.
    pub(super) async fn lock(&self, id: ExecutionId) -> IdLock {
        let stripe = id.uuid().as_bytes()[0] as usize % self.0.len();
        IdLock {
            id,
            _lock: Arc::clone(&self.0[stripe]).lock_owned().await,
        }
    }

    /// Waits until every lock that is held now has been released; later holders are not waited for.
    /// Cancel safe.
    pub(super) async fn wait_for_all(&self) {
        for stripe in &self.0 {
            drop(stripe.lock().await);
        }
    }
}
