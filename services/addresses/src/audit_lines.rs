//! The limit of audit lines for each peer: 20 in a minute. Further lines are omitted, and the next
//! written line has their number. So a flood of refused requests does not fill the disk.

use std::net::IpAddr;
use std::time::Instant;

use crate::peer_counts::PeerCounts;

/// The maximum number of audit lines of one peer in a minute.
const MAX_LINES: u32 = 20;

/// The number of audit lines of each peer in its present minute. At most 4096 peers are remembered;
/// an IPv6 network of 64 bits is one peer.
#[derive(Debug, Default)]
pub struct AuditLines {
    counts: PeerCounts,
    /// The number of omitted lines of peers that are no longer in the table.
    of_forgotten: u64,
}

/// The numbers of omitted lines, which an audit line reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OmittedLines {
    /// The number of lines of this peer that were omitted since its last line.
    pub of_peer: u64,
    /// The number of omitted lines of other peers, which will not be reported with a line of their
    /// own.
    pub of_others: u64,
}

impl OmittedLines {
    /// Returns the number of omitted lines, or `None` if there are none.
    #[must_use]
    pub fn total(self) -> Option<u64> {
        let Self { of_peer, of_others } = self;
        Some(of_peer + of_others).filter(|total| *total > 0)
    }
}

impl AuditLines {
    /// Counts an audit line about `peer` at `now`. Returns the numbers that the line must report,
    /// or `None` if the line must be omitted.
    pub fn next(&mut self, peer: IpAddr, now: Instant) -> Option<OmittedLines> {
        let (count, forgotten) = self.counts.count(peer, now);
        self.of_forgotten += forgotten.map_or(0, |count| count.beyond);
        if count.within >= MAX_LINES {
            count.beyond += 1;
            return None;
        }
        count.within += 1;
        Some(OmittedLines {
            of_peer: std::mem::take(&mut count.beyond),
            of_others: std::mem::take(&mut self.of_forgotten),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::peer_counts::{MAX_PEERS, MINUTE};

    fn peer(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_flood_is_reported_with_the_first_line_of_the_next_minute() {
        let (mut lines, now) = (AuditLines::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(lines.next(peer(1), now), Some(OmittedLines::default()));
        }
        for _ in 0..1000 {
            assert_eq!(lines.next(peer(1), now), None);
        }
        assert_eq!(lines.next(peer(2), now), Some(OmittedLines::default()));
        let omitted = OmittedLines {
            of_peer: 1000,
            of_others: 0,
        };
        assert_eq!(lines.next(peer(1), now + MINUTE), Some(omitted));
        assert_eq!(
            lines.next(peer(1), now + MINUTE),
            Some(OmittedLines::default())
        );
    }

    #[test]
    fn omitted_lines_of_a_forgotten_peer_are_reported_by_another() {
        let (mut lines, now) = (AuditLines::default(), Instant::now());
        for _ in 0..25 {
            lines.next(peer(0), now);
        }
        let later = now + Duration::from_secs(1);
        for number in 1..MAX_PEERS {
            assert_eq!(
                lines.next(peer(number as u32), later),
                Some(OmittedLines::default())
            );
        }
        let omitted = OmittedLines {
            of_peer: 0,
            of_others: 5,
        };
        assert_eq!(lines.next(peer(MAX_PEERS as u32), later), Some(omitted));
    }

    proptest! {
        #[test]
        fn every_line_is_written_or_reported(
            steps in prop::collection::vec((0_u32..3, 0_u64..3000), 0..300),
        ) {
            let (mut lines, mut now) = (AuditLines::default(), Instant::now());
            let (mut written, mut reported) = (0, 0);
            let total = steps.len() as u64;
            for (number, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                if let Some(omitted) = lines.next(peer(number), now) {
                    written += 1;
                    reported += omitted.of_peer + omitted.of_others;
                }
            }
            // The last lines report the rest.
            for number in 0..3 {
                let omitted = lines.next(peer(number), now + MINUTE).unwrap();
                reported += omitted.of_peer + omitted.of_others;
            }
            prop_assert_eq!(written + reported, total);
        }
    }
}
