//! The table of open connections. It counts those of each peer, and chooses the one to close when
//! another connection needs its place.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use addresses::PeerKey;
use tokio::time::Instant;

use crate::net::activity::Activity;

/// One open connection.
#[derive(Debug)]
struct Open {
    peer: PeerKey,
    /// Whether the connection counts against the limit of its peer. One beyond that limit does not,
    /// because it is refused or its peer is exempt.
    is_counted: bool,
    /// Whether the connection waits for its client.
    activity: Activity,
}

/// The open connections of all peers.
#[derive(Debug)]
pub(super) struct OpenConnections {
    /// The number of the newest connection.
    last: u64,
    connections: HashMap<u64, Open>,
    /// The number of counted connections of each peer that has one.
    counts: HashMap<PeerKey, u64>,
    /// The maximum number of counted connections of one peer.
    max_per_peer: u64,
}

impl OpenConnections {
    /// Creates an empty table in which one peer may have `max_per_peer` connections.
    pub(super) fn new(max_per_peer: u64) -> Self {
        Self {
            last: 0,
            connections: HashMap::new(),
            counts: HashMap::new(),
            max_per_peer,
        }
    }

    /// Adds a connection from the address `peer`. Returns its number, and whether it is beyond the
    /// limit of its peer.
    pub(super) fn insert(&mut self, peer: IpAddr, activity: Activity) -> (u64, bool) {
        let peer = PeerKey::from(peer);
        let count = self.counts.get(&peer).copied().unwrap_or(0);
        let is_counted = count < self.max_per_peer;
        if is_counted {
            self.counts.insert(peer, count + 1);
        }
        self.last += 1;
        let open = Open {
            peer,
            is_counted,
            activity,
        };
        self.connections.insert(self.last, open);
        (self.last, !is_counted)
    }

    /// Removes the connection with this number.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(Open {
            peer, is_counted, ..
        }) = self.connections.remove(&number)
        else {
            return;
        };
        let count = self.counts.get_mut(&peer).filter(|_| is_counted);
        if let Some(count) = count {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&peer);
            }
        }
    }

    /// Orders a connection that waits for its client to close: of the peer with the most waiting
    /// connections, the one that has waited longest. Does nothing if no connection waits.
    pub(super) fn make_room(&self) {
        let open = self.connections.values();
        let waiting = open.filter_map(|open| {
            let since = open.activity.waiting_since()?;
            Some((open.peer, since, &open.activity))
        });
        if let Some(activity) = choose(waiting) {
            activity.evict();
        }
    }
}

/// Returns the third value of the waiting connection to close: of the peer with the most of them,
/// the one that has waited longest. `None` if there is no connection.
fn choose<T>(waiting: impl Iterator<Item = (PeerKey, Instant, T)>) -> Option<T> {
    let waiting: Vec<_> = waiting.collect();
    let mut counts: HashMap<PeerKey, usize> = HashMap::new();
    for (peer, ..) in &waiting {
        *counts.entry(*peer).or_default() += 1;
    }
    let rank = |(peer, since, _): &(PeerKey, Instant, T)| {
        let count = counts.get(peer).copied().unwrap_or(0);
        (count, Reverse(*since))
    };
    let chosen = waiting.into_iter().max_by_key(rank);
    chosen.map(|(_, _, activity)| activity)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn peer(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    #[test]
    fn connections_of_a_peer_beyond_its_limit_are_excess_until_others_close() {
        let mut open = OpenConnections::new(2);
        let mut insert = |number| open.insert(peer(number), Activity::default());
        let ((first, excess_1), (_, excess_2), (third, excess_3)) =
            (insert(1), insert(1), insert(1));
        assert_eq!([excess_1, excess_2, excess_3], [false, false, true]);
        let (_, other) = insert(2);
        assert!(!other);
        // One beyond the limit does not count.
        open.remove(third);
        assert!(open.insert(peer(1), Activity::default()).1);
        open.remove(first);
        assert!(!open.insert(peer(1), Activity::default()).1);
        assert!(open.insert(peer(1), Activity::default()).1);
    }

    #[test]
    fn the_table_is_empty_when_every_connection_is_closed() {
        let mut open = OpenConnections::new(2);
        let all: Vec<_> = (0..10)
            .map(|number| open.insert(peer(number % 3), Activity::default()).0)
            .collect();
        all.into_iter()
            .chain([99])
            .for_each(|number| open.remove(number));
        assert!(open.connections.is_empty() && open.counts.is_empty());
    }

    #[tokio::test]
    async fn the_peer_with_the_most_waiting_connections_loses_its_oldest() {
        let mut open = OpenConnections::new(9);
        let mut insert = |number| {
            let activity = Activity::default();
            open.insert(peer(number), activity.clone());
            activity
        };
        // Peer 1 has waited longest, peer 3 is served, peer 2 has two waiting connections.
        let (lonely, oldest, newest) = (insert(1), insert(2), insert(2));
        let served: Vec<_> = (0..3).map(|_| insert(3)).collect();
        let exchanges: Vec<_> = served.iter().map(Activity::begin).collect();
        open.make_room();
        assert_eq!(oldest.waiting_since(), None);
        assert!(lonely.waiting_since().is_some() && newest.waiting_since().is_some());
        // Each has one, so the one that has waited longest is closed.
        open.make_room();
        assert!(lonely.waiting_since().is_none() && newest.waiting_since().is_some());
        open.make_room();
        assert!(newest.waiting_since().is_none());
        open.make_room();
        drop(exchanges);
        assert!(
            served
                .iter()
                .all(|activity| activity.waiting_since().is_some())
        );
    }

    proptest! {
        /// However many connections a peer opens, another peer with fewer loses none.
        #[test]
        fn no_peer_pushes_out_another(
            waiting in prop::collection::vec((0_u8..4, 0_u64..50), 1..40),
        ) {
            let began = Instant::now();
            let count = |number| waiting.iter().filter(|(other, _)| *other == number).count();
            let connections = waiting.iter().map(|(number, ms)| {
                let since = began + Duration::from_millis(*ms);
                (PeerKey::from(peer(*number)), since, (*number, *ms))
            });
            let (number, ms) = choose(connections).unwrap();
            prop_assert!((0..4).all(|other| count(other) <= count(number)));
            let mut own = waiting.iter().filter(|(other, _)| *other == number);
            prop_assert!(own.all(|(_, other)| *other >= ms));
        }
    }
}
