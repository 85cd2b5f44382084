//! The limit of connections. Connections of vanished peers and idle clients are closed.
//!
//! - A connection acquires a permit when it is accepted, and releases it when it is closed.
//! - When no permit is free, the connection that has waited longest for its own client is closed
//!   for the new one. So silent clients, incomplete requests and unread short answers delay no
//!   other client. Two kinds are never closed for another: a connection whose request is being
//!   processed, and one with an open stream, whose reader may be slow. That is why streams have
//!   their own limit: three quarters of all connections (see [`crate::streams`]).
//! - Each connection buffers one chunk of its answer.

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

/// The silence of a peer after which TCP probes the peer (tcp(7), TCP_KEEPIDLE).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
/// The pause between two probes (tcp(7), TCP_KEEPINTVL).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The send buffer of the kernel for a peer that does not read, bytes. The kernel doubles this
/// value. By default it would use up to several MiB for each reader of an output.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Connections may use the process's limit of descriptors divided by this number. Executions need
/// the rest.
const DESCRIPTOR_DIVISOR: u64 = 2;
/// The pause between two attempts to make room when no connection can be closed.
const EVICT_RETRY: Duration = Duration::from_millis(100);

/// Returns the maximum number of connections: the operator's limit, or less if the process has too
/// few descriptors.
#[must_use]
pub(crate) fn connection_limit(allowed: u64) -> usize {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::from(u32::MAX));
    usize::try_from(allowed.min(descriptors / DESCRIPTOR_DIVISOR).max(1)).unwrap_or(usize::MAX)
}

/// A listener that bounds the number of open connections: each connection holds a permit while it
/// is open.
pub(crate) struct Connections {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    open: Arc<OpenConnections>,
}

/// The activity of each open connection.
#[derive(Debug, Default)]
struct OpenConnections {
    // The last number and the activities by number. Held to read or change the map; no await
    // happens inside.
    connections: Mutex<(u64, HashMap<u64, Activity>)>,
}

/// The permit of one connection, released when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    number: u64,
    open: Arc<OpenConnections>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.with(|_, open| open.remove(&self.number));
    }
}

impl OpenConnections {
    fn with<T>(&self, act: impl FnOnce(&mut u64, &mut HashMap<u64, Activity>) -> T) -> T {
        let mut guard = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (next, open) = &mut *guard;
        act(next, open)
    }

    /// Closes the connection that has waited longest for its client, if one waits.
    fn make_room(&self) {
        self.with(|_, open| {
            let waiting = open.values().filter_map(|a| Some((a.waiting_since()?, a)));
            if let Some((_, activity)) = waiting.min_by_key(|(since, _)| *since) {
                activity.evict();
            }
        });
    }
}

impl Connections {
    /// Creates the listener for at most `max_connections`.
    pub(crate) fn new(listener: TcpListener, max_connections: usize) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            open: Arc::default(),
        }
    }

    /// Accepts the next connection, and waits for a permit for it. Returns the connection, its
    /// peer's address, its activity, and its permit, which the caller holds until the connection is
    /// closed.
    pub(crate) async fn accept(&mut self) -> (Connection, IpAddr, Activity, ConnectionPermit) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        prepare(&stream);
        let permit = self.acquire().await;
        let activity = Activity::default();
        let number = self.open.with(|next, open| {
            *next += 1;
            open.insert(*next, activity.clone());
            *next
        });
        let permit = ConnectionPermit {
            number,
            open: Arc::clone(&self.open),
            _permit: permit,
        };
        let connection = Connection::new(stream, activity.clone());
        (connection, peer.ip(), activity, permit)
    }

    /// Waits for a permit. Closes connections that wait for their clients until a permit is free.
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return Some(permit);
            }
            self.open.make_room();
            let free = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(EVICT_RETRY, free).await {
                // The semaphore is never closed.
                return permit.ok();
            }
        }
    }
}

/// Sets the options of an accepted socket. Errors do not matter: the socket is then already
/// closing.
///
/// TCP_USER_TIMEOUT is not set: it would also end the connection of a slow reader whose window is
/// full (tcp_probe_timer of the kernel), and a slow reader is no fault.
fn prepare(stream: &TcpStream) {
    // Small chunks are sent without delay.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, 2);
}
