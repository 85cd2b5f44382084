//! The count of events of each peer in one minute. The table is bounded, and the time is injected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::peer_key::PeerKey;

/// The time in which the events of a peer are counted. It begins with the first event.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// The maximum number of peers that are remembered. A further one replaces the peer with the oldest
/// minute. An entry has about 60 bytes.
pub(crate) const MAX_PEERS: usize = 4096;

/// The count of one peer in its present minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// When the minute began: at the first event of the peer after its last minute.
    began: Instant,
    /// The number of events within the limit in this minute.
    pub(crate) within: u32,
    /// The number of events beyond the limit that have not been reported.
    pub(crate) beyond: u64,
}

impl Count {
    /// Returns the rest of the peer's minute at `now`.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        (self.began + MINUTE).saturating_duration_since(now)
    }
}

/// The counts of the peers that had an event lately.
#[derive(Debug, Default)]
pub(crate) struct PeerCounts {
    peers: HashMap<PeerKey, Count>,
}

impl PeerCounts {
    /// Returns the count of a peer, without events if a new minute begins at `now`. If the table is
    /// full of other peers, the second value is the count that was forgotten for this one.
    pub(crate) fn count(&mut self, peer: IpAddr, now: Instant) -> (&mut Count, Option<Count>) {
        let key = PeerKey::from(peer);
        let forgotten = self.make_room(key);
        let count = self.peers.entry(key).or_insert(Count {
            began: now,
            within: 0,
            beyond: 0,
        });
        if count.rest(now).is_zero() {
            count.began = now;
            count.within = 0;
        }
        (count, forgotten)
    }

    /// Removes the peer with the oldest minute if the table is full and `key` is not in it. Returns
    /// its count. Takes time in proportion to [`MAX_PEERS`].
    fn make_room(&mut self, key: PeerKey) -> Option<Count> {
        if self.peers.len() < MAX_PEERS || self.peers.contains_key(&key) {
            return None;
        }
        let oldest = self.peers.iter().min_by_key(|(_, count)| count.began);
        let oldest = oldest.map(|(key, _)| *key);
        oldest.and_then(|key| self.peers.remove(&key))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }
}
