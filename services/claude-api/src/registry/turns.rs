//! Turns of ids: one task at a time decides whether an id exists.

use std::sync::Arc;

use protocol::ExecutionId;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The number of locks; ids share them by their first byte modulo this number.
const STRIPES: usize = 64;

/// The right to accept or to burn an id. No other task has it until this is dropped.
#[derive(Debug)]
pub struct Turn {
    id: ExecutionId,
    _lock: OwnedMutexGuard<()>,
}

impl Turn {
    /// The id.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.id
    }
}

/// The locks of all ids.
///
/// - Taken when: a task accepts or burns an id; released when the turn is dropped. The memory is
///   fixed, whatever the number of ids.
/// - Who waits behind whom: tasks wait in order for the same lock, which one id in 64 shares. A
///   task never takes a second turn while it has one.
/// - The other direction: a turn sends nothing.
#[derive(Debug)]
pub(super) struct Turns(Vec<Arc<Mutex<()>>>);

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..STRIPES).map(|_| Arc::default()).collect())
    }

    /// Waits for the turn of an id. Cancel safe.
    pub(super) async fn of(&self, id: ExecutionId) -> Turn {
        let stripe = id.uuid().as_bytes()[0] as usize % self.0.len();
        Turn {
            id,
            _lock: Arc::clone(&self.0[stripe]).lock_owned().await,
        }
    }

    /// Waits until every turn that is held now has been dropped. Cancel safe.
    pub(super) async fn all(&self) {
        for stripe in &self.0 {
            drop(stripe.lock().await);
        }
    }
}
