//! The sweep of processes that outlived SIGKILL.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A sweep that all callers share: it repeats until nothing is left.
///
/// Sweeps take turns, and while something outlives SIGKILL each takes seconds. One for each
/// execution that left something would keep the sweep after a runner's death waiting, and with it
/// the end of that execution.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// How many asked since the last time that nothing was left.
    asked: AtomicU64,
}

impl Sweeps {
    /// Sweeps until nothing is left. Returns at once while another call does: that one sweeps again
    /// for this one.
    pub(super) async fn go_on<F: Future<Output = bool>>(
        &self,
        pause: Duration,
        sweep: impl Fn() -> F,
    ) {
        if self.asked.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        loop {
            let asked = self.asked.load(Ordering::SeqCst);
            let clean = sweep().await;
            let done = |now| (clean && now == asked).then_some(0);
            let set = self
                .asked
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, done);
            if set.is_ok() {
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

    /// With eight executions whose processes outlived SIGKILL, the end of another one whose runner was
    /// killed was recorded after 15 s.
    #[tokio::test]
    async fn one_sweep_goes_on_for_all_and_none_who_asked_is_forgotten() {
        let sweeps = Sweeps::default();
        let (at_once, most, swept) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let sweep = || async {
            let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            at_once.fetch_sub(1, Ordering::SeqCst);
            // Something is left the first time.
            swept.fetch_add(1, Ordering::SeqCst) > 0
        };
        let go_on = || sweeps.go_on(Duration::from_millis(1), &sweep);
        let late = async {
            // In the middle of the second sweep, which may not have seen what this one left.
            while swept.load(Ordering::SeqCst) == 0 || at_once.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            go_on().await;
        };
        tokio::join!(go_on(), go_on(), go_on(), late);
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(swept.load(Ordering::SeqCst), 3);
        go_on().await;
        assert_eq!(swept.load(Ordering::SeqCst), 4, "a later one begins anew");
    }
}
