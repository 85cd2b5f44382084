//! Connections: no more than there are places, none whose peer is gone without a word, and none that does nothing for long.
//!
//! A place is taken when a connection was accepted, and given back when it is closed. Where all are taken, the connection that
//! has waited longest for its own client makes room for the new one. So a client that opens connections and says nothing, sends
//! half a request, or does not read a short answer holds up nobody. Two kinds of connections are never closed for another: one
//! whose request is being worked on, and one with an open stream, whose slow reader is no fault. Streams have places of their
//! own for that reason: three quarters of all (see [`crate::http`]).

pub(crate) mod activity;
mod io;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::serve::Listener;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use activity::Activity;
pub(crate) use io::Connection;

/// How long a silent peer is waited for before it is asked, and between the questions.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// What the kernel holds for a peer that does not read, in bytes (it doubles this; by itself it would go up to several MiB for each
/// reader of an output).
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Connections never take more than this part of the descriptors: executions need the rest.
const SHARE: u64 = 2;
/// Where no connection can be closed for a new one, how long until the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The places for connections that this process can afford, of those that the operator allows.
#[must_use]
pub(crate) fn places(allowed: u64) -> usize {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::from(u32::MAX));
    usize::try_from(allowed.min(descriptors / SHARE).max(1)).unwrap_or(usize::MAX)
}

/// A listener with places.
pub(crate) struct Connections {
    listener: TcpListener,
    places: Arc<Semaphore>,
    open: Arc<Open>,
}

/// What each open connection does.
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

    /// The next connection, once it has a place.
    pub(crate) async fn accept(&mut self) -> (Connection, Activity, Place) {
        let (stream, _) = Listener::accept(&mut self.listener).await;
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
        (Connection::new(stream, activity.clone()), activity, place)
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(permit);
            }
            self.open.make_room();
            let free = Arc::clone(&self.places).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(LOOK_AGAIN, free).await {
                // Never closed.
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
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE.0);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE.1);
    let _ = sockopt::set_tcp_keepcnt(stream, 2);
}
