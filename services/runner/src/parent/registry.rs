//! The list of live runner processes among the children of claude-api. All other children are
//! orphans of dead runners, which must be killed.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The process ids of the runner processes that are alive or not reaped yet. One set per process,
/// because the children belong to the process. `None` until the first runner is started.
///
/// A lock, held while a runner is spawned (0.2 ms) or the children are listed. No search for
/// orphans may see a runner between its spawn and its registration. No await happens under the
/// lock.
static LIVE: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

/// The locked list of live runner processes. While this exists, no runner is spawned and no orphans
/// are listed.
pub(super) struct Live(MutexGuard<'static, Option<HashSet<u32>>>);

/// Locks the list of live runner processes. Blocks while another thread spawns a runner or lists
/// the children.
pub(super) fn lock() -> Live {
    // A panic under the lock leaves the set consistent.
    Live(LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Live {
    /// Whether the process with the id `pid` is a live runner, so that it must not be treated as an
    /// orphan.
    pub(super) fn contains(&self, pid: u32) -> bool {
        self.0.as_ref().is_some_and(|set| set.contains(&pid))
    }

    /// Adds the runner process with the id `pid` to the list. It stays listed until the returned
    /// value is dropped.
    pub(super) fn register(&mut self, pid: u32) -> Registration {
        self.0.get_or_insert_default().insert(pid);
        Registration { pid }
    }
}

/// Keeps a runner process in the list of live runners until this is dropped. The task that reaps
/// the runner holds it, because an unreaped runner is still a child.
#[derive(Debug)]
pub(super) struct Registration {
    /// The process id of the runner.
    pid: u32,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(set) = lock().0.as_mut() {
            set.remove(&self.pid);
        }
    }
}
