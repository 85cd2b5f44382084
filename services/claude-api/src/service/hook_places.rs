//! The places of hooks after an execution.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Hooks that run at once.
const RUNNING: usize = 4;
/// Hooks that wait or run. Each holds a status, which has at most 64 KiB.
pub(super) const PLACES: usize = 256;

/// The places of hooks after an execution.
///
/// - Taken when: an execution that had started ends. A place is released when its hook has ended.
/// - Who waits behind whom: hooks wait for one of 4 turns, in the order of the ends. No client, no
///   execution and no lane waits for them. An end that finds all 256 places taken runs no hook; its
///   status gets the warning `hook_failed`.
/// - The other direction: a hook sends nothing. Its output is read at once and thrown away, except
///   for the end of stderr.
/// - A stop of the service waits for the hooks as long as it may, then [`AfterHooks::stop`] kills
///   them.
#[derive(Debug)]
pub(crate) struct AfterHooks {
    pub(super) places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    pub(super) stopped: CancellationToken,
}

impl Default for AfterHooks {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            turns: Arc::new(Semaphore::new(RUNNING)),
            stopped: CancellationToken::new(),
        }
    }
}

impl AfterHooks {
    /// Kills the hooks that run; those that wait are not run.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Waits for a turn; none when the service stops first.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => None,
            turn = Arc::clone(&self.turns).acquire_owned() => turn.ok(),
        }
    }
}
