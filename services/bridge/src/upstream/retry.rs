//! The delays between attempts to reach claude-api: exponential backoff with jitter, as an
//! iterator. Only this module of the bridge uses the `backoff` crate, which is unmaintained
//! (RUSTSEC-2025-0012).

use std::time::{Duration, SystemTime};

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use http::HeaderMap;
use http::header::RETRY_AFTER;

/// The delay after the first failure, before jitter (100 ms).
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay between two attempts to reach claude-api (5 s; docs/protocol.md, "Retries of
/// the bridge").
pub const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// The delays between the attempts of one request: 100 ms after the first failure, then twice as
/// long each time up to [`LONGEST_DELAY`], with jitter. They never end; the caller decides when to
/// give up.
#[derive(Debug)]
pub struct Delays {
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
}

impl Delays {
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
    /// backoff, or `requested` (the pause that the server asked for in `Retry-After`) if that is
    /// longer. It is never longer than [`LONGEST_DELAY`].
    pub fn next_delay(&mut self, requested: Option<Duration>) -> Duration {
        let own = self.next().unwrap_or(LONGEST_DELAY);
        requested
            .map_or(own, |pause| own.max(pause))
            .min(LONGEST_DELAY)
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.attempts = self.attempts.saturating_add(1);
        // Jitter may exceed the longest interval. The cap is the one of docs/protocol.md, "Retries
        // of the bridge".
        self.policy
            .next_backoff()
            .map(|delay| delay.min(LONGEST_DELAY))
    }
}

/// Reads the pause that the HTTP header `Retry-After` asks for, in seconds or as a date (RFC 9110,
/// section 10.2.3). Returns `None` if the header is missing or malformed, and zero for a date in
/// the past.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let time = SystemTime::from(date.timestamp());
    Some(time.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_never_end() {
        let delays: Vec<_> = Delays::default().take(200).collect();
        assert_eq!(delays.len(), 200);
        assert!(delays[0] >= FIRST_DELAY / 2 && delays[0] <= FIRST_DELAY * 3 / 2);
        assert!(delays.iter().all(|d| *d <= LONGEST_DELAY));
        assert!(delays[50..].iter().all(|d| *d >= LONGEST_DELAY / 2));
    }

    #[test]
    fn progress_resets_the_delays() {
        let mut delays = Delays::default();
        assert!(delays.by_ref().take(20).count() == 20);
        delays.reset();
        assert!(delays.next_delay(None) <= FIRST_DELAY * 3 / 2);
        assert_eq!(delays.attempts(), 1);
    }

    #[test]
    fn retry_after_is_honoured() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "2".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(2)));
        assert!(Delays::default().next_delay(retry_after(&headers)) >= Duration::from_secs(2));
        headers.insert(
            RETRY_AFTER,
            "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap(),
        );
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        headers.insert(RETRY_AFTER, "soon".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
