//! The queue of ended executions whose output still needs its SHA-256, which is computed in the
//! background.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ExecutionId;

/// The ids of ended executions whose output waits for its SHA-256 or is being hashed. An id is in
/// the queue at most once.
///
/// - The end of an execution with a long output always adds it, because an entry is only an id. A
///   read of an old status without a SHA-256 adds its output only below 64 entries; otherwise a
///   later read tries again.
/// - Outputs are hashed one at a time. No client waits for them.
/// - An entry is removed when the SHA-256 is recorded or cannot be computed.
#[derive(Debug, Default)]
pub(crate) struct DigestQueue(Mutex<HashSet<ExecutionId>>);

impl DigestQueue {
    /// Below this number of entries, a read of an old status may add its output. The limit bounds
    /// the work that clients cause by listing many old executions.
    const OLD_OUTPUTS: usize = 64;

    /// Adds the output of the execution `id`. Returns false if it is in the queue already.
    pub(super) fn add(&self, id: ExecutionId) -> bool {
        self.ids().insert(id)
    }

    /// Removes the output of the execution `id`.
    pub(super) fn remove(&self, id: ExecutionId) {
        self.ids().remove(&id);
    }

    /// Returns whether the queue is short enough for the output of an old status.
    pub(crate) fn has_room(&self) -> bool {
        self.ids().len() < Self::OLD_OUTPUTS
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ExecutionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
