//! The ids that were cancelled before they were accepted, in memory. The same ids are on disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ExecutionId;
use spool::Owner;

use super::admission::Reservation;

/// The burned ids: ids that were cancelled before they were accepted. For an hour they are refused
/// to the owner whose client cancelled them. Each holds a slot of the queue for that hour, which
/// bounds their number.
///
/// Burned ids and waiting executions together are at most `queued`. Without a free slot, the cancel
/// is refused with 503 `queue-full`, and the id is not burned. Two cases acquire a slot even beyond
/// the limit: burned ids that a start reads from the disk, and a repeated burn.
#[derive(Debug, Default)]
pub(super) struct BurnedIds {
    // Held for one access to the map, never over an await.
    ids: Mutex<HashMap<(ExecutionId, Owner), Reservation>>,
}

impl BurnedIds {
    /// Locks and returns the burned ids, each with its reserved slot of the queue.
    pub(super) fn ids(&self) -> MutexGuard<'_, HashMap<(ExecutionId, Owner), Reservation>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the id is burned for this owner, so that it cannot be accepted from it.
    pub(super) fn contains(&self, id: ExecutionId, owner: Owner) -> bool {
        self.ids().contains_key(&(id, owner))
    }
}
