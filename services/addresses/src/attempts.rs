//! The limit of failed authentications of each peer: 20 in a minute. It slows the guessing of
//! tokens, and keeps a misconfigured client from filling the log.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::peer_counts::PeerCounts;

/// The maximum number of failed authentications of one peer in a minute.
const MAX_FAILURES: u32 = 20;

/// The number of failed authentications of each peer in its present minute. At most 4096 peers are
/// remembered; an IPv6 network of 64 bits is one peer.
///
/// Only failures are counted, so a peer with the right token is never refused.
#[derive(Debug, Default)]
pub struct FailedAttempts(PeerCounts);

/// The error for a peer that has failed too often. The time is how long the peer must wait before
/// its next failure gets the usual answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "this address has sent {MAX_FAILURES} wrong tokens within a minute; try again in {} s with the \
     right one",
    self.seconds()
)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Returns the time in whole seconds for the header `Retry-After`, rounded up and at least 1.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.0
            .as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

impl FailedAttempts {
    /// Counts a failed authentication of `peer` at `now`.
    ///
    /// # Errors
    /// The peer has used up its failures of this minute, which began with the first of them.
    /// Failures beyond the limit do not extend the time.
    pub fn may_fail(&mut self, peer: IpAddr, now: Instant) -> Result<(), RetryAfter> {
        let (count, _) = self.0.count(peer, now);
        if count.within >= MAX_FAILURES {
            return Err(RetryAfter(count.rest(now)));
        }
        count.within += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer_counts::{MAX_PEERS, MINUTE};

    fn peer(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn the_21st_failure_of_a_minute_is_refused_until_the_minute_ends() {
        let (mut attempts, began) = (FailedAttempts::default(), Instant::now());
        for second in 0..20 {
            let now = began + Duration::from_secs(second);
            assert_eq!(attempts.may_fail(peer(1), now), Ok(()));
        }
        for (millis, rest, seconds) in [(20_000, 40_000, 40), (20_500, 39_500, 40), (59_999, 1, 1)]
        {
            let now = began + Duration::from_millis(millis);
            let refused = attempts.may_fail(peer(1), now).unwrap_err();
            assert_eq!(refused.0, Duration::from_millis(rest));
            assert_eq!(refused.seconds(), seconds);
            assert_eq!(attempts.may_fail(peer(2), now), Ok(()), "another peer");
        }
        for _ in 0..20 {
            assert_eq!(attempts.may_fail(peer(1), began + MINUTE), Ok(()));
        }
        assert!(attempts.may_fail(peer(1), began + MINUTE).is_err());
    }

    #[test]
    fn an_ipv6_network_cannot_fail_more_often_with_more_addresses() {
        let (mut attempts, now) = (FailedAttempts::default(), Instant::now());
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        for last in 0..20 {
            assert_eq!(attempts.may_fail(address(last), now), Ok(()));
        }
        assert!(attempts.may_fail(address(20), now).is_err());
    }

    #[test]
    fn the_peer_with_the_oldest_minute_is_forgotten_when_the_table_is_full() {
        let (mut attempts, began) = (FailedAttempts::default(), Instant::now());
        let at = |number: usize| began + Duration::from_micros(number as u64);
        for _ in 0..20 {
            attempts.may_fail(peer(0), at(0)).unwrap();
            attempts.may_fail(peer(1), at(1)).unwrap();
        }
        for number in 2..MAX_PEERS {
            attempts.may_fail(peer(number as u32), at(number)).unwrap();
        }
        assert!(attempts.may_fail(peer(0), at(MAX_PEERS)).is_err());
        attempts
            .may_fail(peer(MAX_PEERS as u32), at(MAX_PEERS))
            .unwrap();
        assert_eq!(attempts.0.len(), MAX_PEERS);
        assert!(attempts.may_fail(peer(1), at(MAX_PEERS)).is_err());
        assert!(attempts.may_fail(peer(0), at(MAX_PEERS)).is_ok());
        assert_eq!(attempts.0.len(), MAX_PEERS);
    }

    proptest! {
        /// However the failures are spread, no minute of a peer has more than 20 unrefused ones.
        #[test]
        fn no_minute_has_more_failures_than_allowed(
            steps in prop::collection::vec((0_u32..3, 0_u64..4000), 0..200),
        ) {
            let mut attempts = FailedAttempts::default();
            let mut now = Instant::now();
            let mut allowed: Vec<(u32, Instant)> = Vec::new();
            for (number, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                match attempts.may_fail(peer(number), now) {
                    Ok(()) => allowed.push((number, now)),
                    Err(RetryAfter(rest)) => {
                        prop_assert!(!rest.is_zero() && rest <= MINUTE);
                        // The same peer may fail again after that time.
                        let first = allowed.iter().rev().filter(|(other, _)| *other == number);
                        prop_assert!(first.take(20).all(|(_, at)| *at + MINUTE >= now + rest));
                    }
                }
            }
            for number in 0..3 {
                let times: Vec<_> = allowed.iter().filter(|(n, _)| *n == number).collect();
                // At most two minutes meet in any 60 s.
                for pair in times.windows(41) {
                    prop_assert!(pair[40].1 - pair[0].1 >= MINUTE);
                }
            }
        }
    }
}
