//! The limits of open connections.
//!
//! - When is a slot taken? When accept(2) returns. A connection counts until it has ended, also as
//!   a WebSocket session.
//! - Who waits for whom? No connection waits. When all slots are taken, a connection that waits for
//!   its client is closed for the new one: of the peer with the most such connections, the one that
//!   has waited longest. A connection with a request or a session is never closed for another. A
//!   peer at its own limit gets no further connection, and pushes out no connection of another
//!   peer.
//! - What bounds the other direction? hyper reads no further while the client does not read its
//!   answer. The kernel drops a peer that acknowledges no data for two pings. An idle connection
//!   and an unfinished head have time limits.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use addresses::PeerKey;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::activity::Activity;

/// The limits of open connections, in all and for each peer. A clone refers to the same ones.
#[derive(Debug, Clone)]
pub(super) struct ConnectionSlots {
    limit: usize,
    per_peer: usize,
    // A plain lock, because it is held only to read or change the table, never across an await.
    table: Arc<Mutex<SlotTable>>,
}

/// The open connections.
#[derive(Debug, Default)]
struct SlotTable {
    /// The number of all open connections, sessions included.
    open: usize,
    /// The number of open connections of each peer, sessions included.
    by_peer: HashMap<PeerKey, usize>,
    /// The number of the youngest connection.
    last_number: u64,
    /// The open connections without a session, by their number.
    without_session: HashMap<u64, WithoutSession>,
}

/// An open connection without a session.
#[derive(Debug)]
struct WithoutSession {
    peer: PeerKey,
    /// Whether the connection waits for its client.
    activity: Activity,
    /// Cancelling this closes the connection.
    close: CancellationToken,
}

/// The reason why a connection gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All connections that the bridge allows are sessions or have a request.
    All,
    /// The peer has as many connections as one peer may have.
    Peer,
}

/// The place of a connection without a WebSocket session. The connection must close when
/// [`Self::must_close`] returns, because a newer one needs its place.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: ConnectionSlots,
    number: u64,
    activity: Activity,
    close: CancellationToken,
}

/// An open connection, which counts until this is dropped. A WebSocket session keeps it.
#[derive(Debug)]
pub(in crate::server) struct OpenConnection {
    slots: ConnectionSlots,
    peer: PeerKey,
}

impl ConnectionSlots {
    /// Creates the slots for `limit` connections in all, and `per_peer` of each peer.
    pub(super) fn new(limit: usize, per_peer: usize) -> Self {
        Self {
            limit,
            per_peer,
            table: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SlotTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for a new connection. If all slots are taken, closes one that waits for its
    /// client. So a new client connects also when many connections are idle.
    ///
    /// # Errors
    /// The peer has too many connections, unless `is_exempt` is true. Or no connection waits for
    /// its client.
    pub(super) fn take(
        &self,
        peer: IpAddr,
        is_exempt: bool,
    ) -> Result<(ConnectionSlot, OpenConnection), Full> {
        let peer = PeerKey::from(peer);
        let mut table = self.lock();
        let of_peer = table.by_peer.get(&peer).copied().unwrap_or_default();
        if of_peer >= self.per_peer && !is_exempt {
            return Err(Full::Peer);
        }
        if table.open >= self.limit {
            let number = table.longest_waiting().ok_or(Full::All)?;
            if let Some(waiting) = table.without_session.remove(&number) {
                waiting.close.cancel();
            }
        }
        table.open += 1;
        table.by_peer.insert(peer, of_peer + 1);
        table.last_number += 1;
        let number = table.last_number;
        let (activity, close) = (Activity::default(), CancellationToken::new());
        let without_session = WithoutSession {
            peer,
            activity: activity.clone(),
            close: close.clone(),
        };
        table.without_session.insert(number, without_session);
        drop(table);
        let slot = ConnectionSlot {
            slots: self.clone(),
            number,
            activity,
            close,
        };
        let slots = self.clone();
        Ok((slot, OpenConnection { slots, peer }))
    }
}

impl SlotTable {
    /// Returns the number of the connection to close for a new one: of the peer with the most
    /// connections that wait for their client, the one that has waited longest. `None` if none
    /// waits.
    fn longest_waiting(&self) -> Option<u64> {
        let open = self.without_session.iter();
        let waiting = open.filter_map(|(number, open)| {
            Some((open.peer, open.activity.waiting_since()?, *number))
        });
        let waiting: Vec<_> = waiting.collect();
        let mut counts: HashMap<PeerKey, usize> = HashMap::new();
        for (peer, ..) in &waiting {
            *counts.entry(*peer).or_default() += 1;
        }
        let rank = |(peer, since, number): &(PeerKey, _, u64)| {
            (counts[peer], Reverse(*since), Reverse(*number))
        };
        waiting.iter().max_by_key(|one| rank(one)).map(|one| one.2)
    }
}

impl ConnectionSlot {
    /// Returns the activity of the connection, which decides whether a newer one may take its
    /// place.
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Waits until a newer connection needs the place of this one.
    pub(super) fn must_close(&self) -> WaitForCancellationFuture<'_> {
        self.close.cancelled()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.lock().without_session.remove(&self.number);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut table = self.slots.lock();
        table.open -= 1;
        if let Some(count) = table.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                table.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_peer_at_its_limit_pushes_out_no_other_connection() {
        let slots = ConnectionSlots::new(3, 2);
        let other = slots.take(ip(1), false).unwrap();
        let first = slots.take(ip(2), false).unwrap();
        let second = slots.take(ip(2), false).unwrap();
        assert_eq!(slots.take(ip(2), false).unwrap_err(), Full::Peer);
        assert!(!other.0.close.is_cancelled());
        assert!(slots.take(ip(2), true).is_ok(), "an exempt peer");
        assert!(
            first.0.close.is_cancelled(),
            "the peer with the most makes room"
        );
        assert!(!other.0.close.is_cancelled());
        drop((first, second));
        assert!(slots.take(ip(2), false).is_ok());
        drop(other);
        let table = slots.lock();
        assert_eq!((table.open, table.by_peer.len()), (0, 0));
        assert!(table.without_session.is_empty());
    }

    #[test]
    fn a_connection_with_a_request_is_never_closed_for_another() {
        let slots = ConnectionSlots::new(3, 9);
        let busy = slots.take(ip(1), false).unwrap();
        busy.0.activity.begin();
        let lone = slots.take(ip(2), false).unwrap();
        let first = slots.take(ip(3), false).unwrap();
        let second = slots.take(ip(3), false).unwrap();
        assert!(lone.0.close.is_cancelled(), "it has waited longest");
        let third = slots.take(ip(3), false).unwrap();
        assert!(first.0.close.is_cancelled() && !second.0.close.is_cancelled());
        second.0.activity.begin();
        third.0.activity.begin();
        drop((lone, first));
        assert_eq!(slots.take(ip(4), false).unwrap_err(), Full::All);
        assert!(!busy.0.close.is_cancelled());
    }

    #[test]
    fn sessions_count_and_are_never_closed_for_a_connection() {
        let slots = ConnectionSlots::new(2, 9);
        let (slot, _session) = slots.take(ip(1), false).unwrap();
        drop(slot);
        let (idle, open) = slots.take(ip(1), false).unwrap();
        let (slot, _other_session) = slots.take(ip(1), false).unwrap();
        assert!(idle.close.is_cancelled());
        drop((idle, open, slot));
        assert_eq!(slots.take(ip(1), false).unwrap_err(), Full::All);
    }
}
