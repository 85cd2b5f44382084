//! The delays between the attempts to deliver an event. The number of an attempt is on disk, and
//! its delay is computed from that number; the crate `retries` counts failures in memory. Only this
//! module of claude-api uses the `backoff` crate, which is unmaintained (RUSTSEC-2025-0012).

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The delay after the first failed attempt, before jitter.
const FIRST: Duration = Duration::from_secs(5);
/// The longest delay between two attempts, before jitter. A receiver that returns after hours gets
/// its events within an hour and a quarter.
const LONGEST: Duration = Duration::from_secs(3600);
/// The jitter: the fraction by which a delay is made longer or shorter at random, so that the
/// events of a receiver that was away do not arrive all at once.
const JITTER: f64 = 0.25;
/// The longest delay with jitter. An event that is due later than this was scheduled by a clock
/// that was wrong.
pub(super) const LONGEST_WITH_JITTER: Duration = Duration::from_secs(4500);

/// Returns the delay after the failed attempt with this number: 5 s after the first, then twice as
/// long each time up to an hour, with jitter.
pub(super) fn delay(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let mut policy = ExponentialBackoff {
        current_interval: FIRST.saturating_mul(1 << doublings).min(LONGEST),
        initial_interval: FIRST,
        multiplier: 2.0,
        randomization_factor: JITTER,
        max_interval: LONGEST,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    policy.next_backoff().unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_five_seconds_to_an_hour_with_jitter() {
        for (attempt, seconds) in [
            (0, 5.0),
            (1, 5.0),
            (2, 10.0),
            (5, 80.0),
            (10, 2560.0),
            (11, 3600.0),
            (u32::MAX, 3600.0),
        ] {
            for _ in 0..100 {
                let delay = delay(attempt).as_secs_f64();
                let range = (seconds * 0.749)..=(seconds * 1.251);
                assert!(range.contains(&delay), "{attempt}: {delay}");
                assert!(delay <= LONGEST_WITH_JITTER.as_secs_f64());
            }
        }
    }

    #[test]
    fn delays_differ() {
        let delays: std::collections::HashSet<_> = (0..20).map(|_| delay(9)).collect();
        assert!(delays.len() > 10);
    }
}
