//! The list of live runners among the children of this process, by which runners are distinguished
//! from orphans.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The process ids of the live runners; one set per process, because the children belong to the
/// process. A lock, held while a runner is spawned (0.2 ms) or a sweep lists the children: no sweep
/// may see a runner between its spawn and its registration. No await happens under it.
static LIVE: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

/// The locked list of live runners. While this exists, no runner is spawned and no orphans are
/// listed.
pub(super) struct Live(MutexGuard<'static, Option<HashSet<u32>>>);

/// Locks the list of live runners. Blocks while another runner is spawned or children are listed.
pub(super) fn lock() -> Live {
    // A panic under the lock leaves the set consistent.
    Live(LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Live {
    pub(super) fn contains(&self, pid: u32) -> bool {
        self.0.as_ref().is_some_and(|set| set.contains(&pid))
    }

    /// Adds the runner with this process id to the list until the result is dropped.
    pub(super) fn register(&mut self, pid: u32) -> Registration {
        self.0.get_or_insert_default().insert(pid);
        Registration { pid }
    }
}

/// The membership of a runner in the list of live runners, which ends when this is dropped. The
/// task that reaps the runner holds it.
#[derive(Debug)]
pub(super) struct Registration {
    pid: u32,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(set) = lock().0.as_mut() {
            set.remove(&self.pid);
        }
    }
}
