//! The limits of after hooks, the operator's programs that run when an execution has ended.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The maximum number of after hooks that run at the same time.
const RUNNING: usize = 4;
/// The maximum number of after hooks that wait or run. Each holds a status, which has at most 64
/// KiB, in memory.
pub(super) const SLOTS: usize = 256;

/// Bounds the after hooks, the operator's programs that run when an execution has ended.
///
/// - Slots: a hook holds one of 256 from the end of its execution to its own end. Without a free
///   slot the hook is not run, and the status gets the warning `hook_failed`.
/// - Permits: a running hook holds one of 4. Hooks wait for them in the order of the ends. No
///   client, no execution and no lane waits for a hook.
/// - Output: it is read immediately and discarded, except for the last bytes of stderr.
/// - Stop: the service waits for the hooks within its own time limit, then [`HookQueue::stop`]
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
