//! Connections: at most one per place, and none of a vanished peer or an idle client for long.
//!
//! - Taken when: a connection is accepted; released when it is closed.
//! - Who waits behind whom: when all places are taken, the connection that has waited longest for
//!   its own client is closed for the new one. So silent clients, half requests and unread short
//!   answers delay nobody. Two kinds are never closed for another: a connection whose request is
//!   being processed, and one with an open stream, whose reader may be slow. Streams have their own
//!   limit for that reason: three quarters of all places (see [`crate::streams`]).
//! - The other direction: each connection buffers one chunk of its answer.

pub(crate) mod activity;
mod io;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::serve::Listener;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use activity::Activity;
pub(crate) use io::Connection;

/// The silence of a peer after which TCP probes it (tcp(7), TCP_KEEPIDLE).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
/// The pause between two probes (tcp(7), TCP_KEEPINTVL).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// What the kernel holds for a peer that does not read, in bytes (it doubles this; by itself it would go up to several MiB for each
/// reader of an output).
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Connections never take more than this part of the descriptors: executions need the rest.
const SHARE: u64 = 2;
/// The interval between two attempts to make room when no connection can be closed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Returns the number of places: the operator's limit, or less when the process has too few
/// descriptors.
#[must_use]
pub(crate) fn places(allowed: u64) -> usize {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::from(u32::MAX));
    usize::try_from(allowed.min(descriptors / SHARE).max(1)).unwrap_or(usize::MAX)
}

/// A listener that gives each connection a place.
pub(crate) struct Connections {
    listener: TcpListener,
    places: Arc<Semaphore>,
    open: Arc<Open>,
}

/// The activity of each open connection.
#[derive(Debug, Default)]
struct Open {
    // Held for a look into the map; no await happens inside.
    connections: Mutex<(u64, HashMap<u64, Activity>)>,
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    open: Arc<Open>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.with(|_, open| open.remove(&self.number));
    }
}

impl Open {
    fn with<T>(&self, act: impl FnOnce(&mut u64, &mut HashMap<u64, Activity>) -> T) -> T {
        let mut guard = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (next, open) = &mut *guard;
        act(next, open)
    }

    /// Closes the connection that has waited longest for its client.
    fn make_room(&self) {
        self.with(|_, open| {
            let waiting = open.values().filter_map(|a| Some((a.waits_since()?, a)));
            if let Some((_, activity)) = waiting.min_by_key(|(since, _)| *since) {
                activity.evict();
            }
        });
    }
}

impl Connections {
    pub(crate) fn new(listener: TcpListener, places: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            open: Arc::default(),
        }
    }

    /// Accepts the next connection, once there is a place for it.
    pub(crate) async fn accept(&mut self) -> (Connection, IpAddr, Activity, Place) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        prepare(&stream);
        let permit = self.place().await;
        let activity = Activity::default();
        let number = self.open.with(|next, open| {
            *next += 1;
            open.insert(*next, activity.clone());
            *next
        });
        let place = Place {
            number,
            open: Arc::clone(&self.open),
            _permit: permit,
        };
        let connection = Connection::new(stream, activity.clone());
        (connection, peer.ip(), activity, place)
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(permit);
            }
            self.open.make_room();
            let free = Arc::clone(&self.places).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(LOOK_AGAIN, free).await {
                // The semaphore is never closed.
                return permit.ok();
            }
        }
    }
}

/// A socket that is closing already does not matter. No TCP_USER_TIMEOUT: it also ends the connection of a reader that stands
/// still with a full window (tcp_probe_timer of the kernel), and a slow reader is no fault.
fn prepare(stream: &TcpStream) {
    // Small chunks leave at once.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, 2);
}
