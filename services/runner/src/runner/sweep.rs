//! When a sweep gives up: the rule, without I/O.

use std::time::{Duration, Instant};

/// How long nothing may die before what is left counts as unkillable: with a kill grace of 3 s the end is told within
/// the 5 s that a cancel may take.
pub(super) const STUCK: Duration = Duration::from_millis(1_500);
/// How long a sweep takes at most, even if something dies all the time.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// The progress of one sweep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    begun: Instant,
    last_death: Instant,
    rounds: u32,
    pub(super) killed: u32,
}

impl Sweep {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            last_death: now,
            rounds: 0,
            killed: 0,
        }
    }

    /// A child was reaped; `ours` if by our SIGKILL.
    pub(super) fn died(&mut self, now: Instant, ours: bool) {
        self.last_death = now;
        self.killed += u32::from(ours);
    }

    /// One more round of SIGKILL was sent: how long to wait for a death before the next one. Short at first, most
    /// trees are gone in 2 ms; longer for what hangs, so that waiting costs nothing.
    pub(super) fn round(&mut self) -> Duration {
        self.rounds = self.rounds.saturating_add(1);
        Duration::from_millis(u64::from(self.rounds.min(20)))
    }

    pub(super) fn gives_up(&self, now: Instant) -> bool {
        now.duration_since(self.last_death) >= STUCK || now.duration_since(self.begun) >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_while_something_dies_and_ends_all_the_same() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut sweep = Sweep::new(start);
        assert!(!sweep.gives_up(at(1_499)));
        assert!(sweep.gives_up(at(1_500)), "nothing died for 1.5 s");
        for second in 1..10 {
            sweep.died(at(second * 1_000), second % 2 == 0);
            assert!(!sweep.gives_up(at(second * 1_000 + 900)));
        }
        assert!(sweep.gives_up(at(10_000)), "a tree that forks for ever");
        assert_eq!(sweep.killed, 4);
    }

    #[test]
    fn rounds_slow_down_to_a_bound() {
        let mut sweep = Sweep::new(Instant::now());
        let waits: Vec<_> = (0..50).map(|_| sweep.round().as_millis()).collect();
        assert_eq!((waits[0], waits[1], waits[49]), (1, 2, 20));
    }
}
