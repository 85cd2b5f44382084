//! The delays between two attempts to reach claude-api. Only this module of the crate uses the
//! `backoff` crate, which is unmaintained (RUSTSEC-2025-0012).

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The delay after the first failure, before jitter.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The longest delay. It is short, because executions wait for their grants meanwhile.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// The delays: 50 ms after the first failure, then twice as long each time up to 2 s, with jitter.
/// They never end.
#[derive(Debug)]
pub(super) struct Delays {
    policy: ExponentialBackoff,
    /// The number of failures since the last success.
    attempts: u32,
}

impl Default for Delays {
    fn default() -> Self {
        let mut policy = ExponentialBackoff {
            initial_interval: FIRST_DELAY,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_interval: LONGEST_DELAY,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        policy.reset();
        Self {
            policy,
            attempts: 0,
        }
    }
}

impl Delays {
    /// Records a success. The next failure is then followed by the shortest delay again.
    pub(super) fn reset(&mut self) {
        self.policy.reset();
        self.attempts = 0;
    }

    /// Returns the number of failures since the last success.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Records a failure, and returns the delay before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let delay = self.policy.next_backoff().unwrap_or(LONGEST_DELAY);
        delay.min(LONGEST_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_a_success_resets_them() {
        let mut delays = Delays::default();
        let all: Vec<_> = (0..100).map(|_| delays.next_delay()).collect();
        assert!(all[0] <= FIRST_DELAY * 3 / 2, "{:?}", all[0]);
        assert!(all.iter().all(|delay| *delay <= LONGEST_DELAY));
        assert!(all[20..].iter().all(|delay| *delay >= LONGEST_DELAY / 2));
        delays.reset();
        assert!(delays.next_delay() <= FIRST_DELAY * 3 / 2);
        assert_eq!(delays.attempts(), 1);
    }
}
