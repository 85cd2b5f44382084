//! The ids that were cancelled before they were accepted, in memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ExecutionId;

use super::admission::Reservation;

/// The burned ids, which were cancelled before they were accepted. Each holds a slot of the queue
/// from the record of its burn until it expires after an hour.
///
/// Burned ids and waiting executions together are at most `queued`. A burn without a slot is
/// refused with `queue-full`, and nothing is recorded. A restart and a repeated burn acquire a slot
/// even beyond the limit.
#[derive(Debug, Default)]
pub(super) struct BurnedIds {
    // Held for one access to the map, never over an await.
    ids: Mutex<HashMap<ExecutionId, Reservation>>,
}

impl BurnedIds {
    pub(super) fn ids(&self) -> MutexGuard<'_, HashMap<ExecutionId, Reservation>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, id: ExecutionId) -> bool {
        self.ids().contains_key(&id)
    }
}
