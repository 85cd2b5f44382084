//! The delays between the attempts of a request or a connection: exponential backoff with jitter.
//!
//! Only this crate and the deliveries of webhooks in claude-api use the `backoff` crate, which is
//! unmaintained (RUSTSEC-2025-0012). A delivery remembers the number of its attempt on disk, so its
//! delays are computed from that number and have no state.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The delays between the attempts of one request or connection. After the first failure the delay
/// is `first`, then twice as long each time up to `longest`, with jitter of half of itself. The
/// delays never end; the caller decides when to give up.
#[derive(Debug)]
pub struct Delays {
    policy: ExponentialBackoff,
    /// The number of failures since the last success.
    attempts: u32,
}

impl Delays {
    /// Creates the delays of a request or a connection that has not failed yet.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        let mut policy = ExponentialBackoff {
            initial_interval: first,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_interval: longest,
            // By default the delays end 15 minutes after the construction.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        policy.reset();
        Self {
            policy,
            attempts: 0,
        }
    }

    /// Records a success. The next failure is then followed by the shortest delay again.
    pub fn reset(&mut self) {
        self.policy.reset();
        self.attempts = 0;
    }

    /// Returns the number of failures since the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Records a failure, and returns the delay before the next attempt. It is the delay of the
    /// backoff, or `requested` (the pause that the server asked for, as in `Retry-After`) if that
    /// is longer. It is never longer than the longest delay, not even with jitter.
    pub fn next_delay(&mut self, requested: Option<Duration>) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let longest = self.policy.max_interval;
        let own = self.policy.next_backoff().unwrap_or(longest);
        own.max(requested.unwrap_or_default()).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn delays_grow_to_the_longest_and_never_end() {
        let mut delays = Delays::new(FIRST, LONGEST);
        let all: Vec<_> = (0..200).map(|_| delays.next_delay(None)).collect();
        assert!(all[0] >= FIRST / 2 && all[0] <= FIRST * 3 / 2);
        assert!(all.iter().all(|delay| *delay <= LONGEST));
        assert!(all[50..].iter().all(|delay| *delay >= LONGEST / 2));
        assert_eq!(delays.attempts(), 200);
    }

    #[test]
    fn a_success_resets_the_delays() {
        let mut delays = Delays::new(FIRST, LONGEST);
        for _ in 0..20 {
            delays.next_delay(None);
        }
        delays.reset();
        assert_eq!(delays.attempts(), 0);
        assert!(delays.next_delay(None) <= FIRST * 3 / 2);
        assert_eq!(delays.attempts(), 1);
    }

    #[test]
    fn a_requested_pause_counts_up_to_the_longest_delay() {
        let mut delays = Delays::new(FIRST, LONGEST);
        let requested = Duration::from_secs(2);
        assert_eq!(delays.next_delay(Some(requested)), requested);
        assert_eq!(delays.next_delay(Some(LONGEST * 2)), LONGEST);
        assert!(delays.next_delay(Some(Duration::ZERO)) >= FIRST);
    }
}
