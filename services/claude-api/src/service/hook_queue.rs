//! The limits of hooks after executions.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The most hooks that run at the same time.
const RUNNING: usize = 4;
/// The most hooks that wait or run. Each holds a status, which has at most 64 KiB.
pub(super) const SLOTS: usize = 256;

/// The slots and permits of hooks after executions.
///
/// - Taken when: an execution that had started ends. A slot is released when its hook has ended.
/// - Who waits behind whom: hooks wait for one of 4 permits to run, in the order of the ends. No
///   client, no execution and no lane waits for them. Without a free slot of 256, an end runs no
///   hook; its status gets the warning `hook_failed`.
/// - The other direction: a hook sends nothing. Its output is read immediately and discarded,
///   except for the last bytes of stderr.
/// - A stop of the service waits for the hooks within its own time limit, then [`HookQueue::stop`]
///   kills them.
#[derive(Debug)]
pub(crate) struct HookQueue {
    /// Bounds the hooks that wait or run.
    pub(super) slots: Arc<Semaphore>,
    /// Bounds the hooks that run.
    permits: Arc<Semaphore>,
    /// Cancelled when a stop has no more time for hooks.
    pub(super) stopped: CancellationToken,
}

impl Default for HookQueue {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(SLOTS)),
            permits: Arc::new(Semaphore::new(RUNNING)),
            stopped: CancellationToken::new(),
        }
    }
}

impl HookQueue {
    /// Kills the running hooks. Waiting hooks are not run.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Waits for a permit to run a hook; returns `None` if the service stops first.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => None,
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
        }
    }
}
