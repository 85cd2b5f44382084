//! The queue of ended outputs whose SHA-256 is computed in the background.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ExecutionId;

/// The ended outputs that wait for their SHA-256 or are being hashed, each at most once.
///
/// - The end of an execution always adds its output, because an entry is only an id. A read of an
///   old status without a SHA-256 adds its output only below 64 entries; otherwise a later read
///   tries again.
/// - Outputs are hashed one at a time, in order. No client waits for them.
/// - An entry is removed when the digest is recorded or cannot be computed.
#[derive(Debug, Default)]
pub(crate) struct DigestQueue(Mutex<HashSet<ExecutionId>>);

impl DigestQueue {
    /// The number of entries below which a read of an old status may add another.
    const OLD_OUTPUTS: usize = 64;

    /// Adds an output; returns false if it is in the queue already.
    pub(super) fn add(&self, id: ExecutionId) -> bool {
        self.ids().insert(id)
    }

    pub(super) fn remove(&self, id: ExecutionId) {
        self.ids().remove(&id);
    }

    /// Returns whether a read of an old status may add its output.
    pub(crate) fn has_room(&self) -> bool {
        self.ids().len() < Self::OLD_OUTPUTS
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ExecutionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
