//! Which children of this process are live runners.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A plain mutex: it is held while a process is spawned (0.2 ms) or a sweep lists the children, and
/// no await happens inside. It is one per process because the children are: a runner must never be
/// met by a sweep between its birth and its registration.
static LIVE: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

/// Locks the list: nobody spawns or lists orphans meanwhile.
pub(super) struct Live(MutexGuard<'static, Option<HashSet<u32>>>);

pub(super) fn lock() -> Live {
    // A set stays whole whatever panicked beside it.
    Live(LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Live {
    pub(super) fn contains(&self, pid: u32) -> bool {
        self.0.as_ref().is_some_and(|set| set.contains(&pid))
    }

    pub(super) fn register(&mut self, pid: u32) -> Registration {
        self.0.get_or_insert_default().insert(pid);
        Registration { pid }
    }
}

/// The runner is registered as long as this lives; whoever reaps it holds it.
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
