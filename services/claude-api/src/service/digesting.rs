//! The outputs that wait for their SHA-256, in memory.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ExecutionId;

/// The outputs that wait for their SHA-256 or are being hashed, each once.
///
/// - Taken when: an execution ends, always, at the cost of an id. A look at an old status takes a
///   place only while fewer than 64 are taken; otherwise the next look tries again. A place is
///   released when the digest is recorded or cannot be made.
/// - Who waits behind whom: outputs wait for one core, in order. No client waits for them.
/// - The other direction: a digest sends nothing.
#[derive(Debug, Default)]
pub(crate) struct Digesting(Mutex<HashSet<ExecutionId>>);

impl Digesting {
    /// Places that looks at old statuses may fill.
    const LOOKS: usize = 64;

    /// Adds an output; false when it already waits.
    pub(super) fn add(&self, id: ExecutionId) -> bool {
        self.ids().insert(id)
    }

    pub(super) fn remove(&self, id: ExecutionId) {
        self.ids().remove(&id);
    }

    /// Whether a look at an old status may add its output.
    pub(crate) fn has_room(&self) -> bool {
        self.ids().len() < Self::LOOKS
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ExecutionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
