//! The sweep: killing and reaping processes that still exist after SIGKILL, in one loop for all
//! executions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The loop that kills and reaps processes that still exist after SIGKILL. All executions share it.
/// It repeats until no such process is left.
///
/// Sweeps run one after the other, and each takes seconds while such a process exists. With a loop
/// for every execution that left processes, the sweep after a runner's death would wait for all of
/// them. The end of that execution would wait as well.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// The number of requests since the last sweep that left no process. Zero means that no loop
    /// runs.
    requests: AtomicU64,
}

impl Sweeps {
    /// Calls `sweep` repeatedly, with `pause` in between, until it returns true, which means that
    /// no process is left. While another call of this function is running, only asks that call for
    /// one more sweep and returns immediately.
    pub(super) async fn run<F: Future<Output = bool>>(
        &self,
        pause: Duration,
        sweep: impl Fn() -> F,
    ) {
        if self.requests.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        loop {
            let requests = self.requests.load(Ordering::SeqCst);
            let clean = sweep().await;
            let reset = |now| (clean && now == requests).then_some(0);
            let done = self
                .requests
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, reset);
            if done.is_ok() {
                return;
            }
            if !clean {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the shared sweep, and with eight executions whose processes outlived SIGKILL, the
    /// end of another execution whose runner was killed was recorded only after 15 s.
    #[tokio::test]
    async fn callers_share_one_sweep_that_repeats_for_a_late_caller() {
        let sweeps = Sweeps::default();
        let (running, most, swept) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let sweep = || async {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            // The first sweep leaves a process.
            swept.fetch_add(1, Ordering::SeqCst) > 0
        };
        let run = || sweeps.run(Duration::from_millis(1), &sweep);
        let late = async {
            // Calls in the middle of the second sweep, which may not have seen this call's
            // processes.
            while swept.load(Ordering::SeqCst) == 0 || running.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            run().await;
        };
        tokio::join!(run(), run(), run(), late);
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(swept.load(Ordering::SeqCst), 3);
        run().await;
        assert_eq!(swept.load(Ordering::SeqCst), 4, "a later call sweeps again");
    }
}
