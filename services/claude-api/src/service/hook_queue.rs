//! The limits of after hooks, the operator's programs that run after each execution.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How many after hooks may run at the same time. The others wait until one of them has ended.
const RUNNING: usize = 4;
/// How many after hooks may wait or run. Each holds a status of at most 64 KiB in memory, so all of
/// them together use at most 16 MiB.
pub(super) const SLOTS: usize = 256;

/// The limits of the after hooks, the operator's programs that run after each execution.
///
/// - Slots: a hook holds one of 256 slots from the end of its execution to its own end. Without a
///   free slot the hook is not run, and the status gets the warning `hook_failed`.
/// - Permits: a running hook holds one of 4 permits. Hooks wait for them in the order in which
///   their executions ended. No client, execution or lane waits for a hook.
/// - Output: a hook's output is read immediately and discarded, except for the last bytes of
///   stderr.
/// - Stop: the service waits for the hooks within its own time limit, then [`HookQueue::stop`]
///   kills them.
#[derive(Debug)]
pub(crate) struct HookQueue {
    /// The slots of the hooks that wait or run.
    pub(super) slots: Arc<Semaphore>,
    /// The permits of the hooks that run.
    permits: Arc<Semaphore>,
    /// The token that is cancelled when a stop of the service has no more time for hooks.
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
    /// Kills the process trees of the hooks that run, and makes waiting hooks give up.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Waits for a permit to run a hook. Returns `None` if the service stops first: the hook is not
    /// run then.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => None,
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
        }
    }
}
