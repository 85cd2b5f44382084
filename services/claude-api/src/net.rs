//! The limit of open TCP connections. Connections of vanished peers and of idle clients are closed.
//!
//! - A connection acquires a permit when it is accepted, and releases it when it is closed.
//! - When no permit is free, the connection that has waited longest for its own client is closed
//!   for the new one. So silent clients, incomplete requests and unread short answers delay no
//!   other client. Two kinds of connections are never closed for another. One has a request that is
//!   being processed. The other has an open stream, whose reader may be slow; streams therefore
//!   have their own limit, three quarters of all connections (see [`crate::streams`]).
//! - Each connection buffers one chunk of its answer.
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

/// How long a peer may send nothing before TCP probes whether it still exists (TCP_KEEPIDLE,
/// tcp(7)).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
/// The pause between two TCP keepalive probes (TCP_KEEPINTVL, tcp(7)). After two unanswered probes
/// the kernel closes the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The requested size in bytes of the kernel's send buffer for each connection (SO_SNDBUF; the
/// kernel doubles it). By default the kernel would hold several MiB for each slow reader of an
/// output.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// The divisor for the part of the process's file descriptors that connections may use: half.
/// Executions need the rest.
const DESCRIPTOR_DIVISOR: u64 = 2;
/// The pause between two attempts to close an idle connection for a new one. An attempt fails while
/// no open connection waits for its client.
const EVICT_RETRY: Duration = Duration::from_millis(100);

/// Returns the maximum number of open connections. This is `allowed`, the operator's limit, or half
/// of the process's limit of file descriptors if that is less. It is at least 1.
#[must_use]
pub(crate) fn connection_limit(allowed: u64) -> usize {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::from(u32::MAX));
    usize::try_from(allowed.min(descriptors / DESCRIPTOR_DIVISOR).max(1)).unwrap_or(usize::MAX)
}

/// The TCP listener of the service, with a limit of open connections. Each connection holds a
/// permit while it is open.
pub(crate) struct Connections {
    /// The listening TCP socket.
    listener: TcpListener,
    /// The permits for connections that may still be opened.
    permits: Arc<Semaphore>,
    /// The open connections, of which one may be closed for a new one.
    open: Arc<OpenConnections>,
}

/// The table of open connections, each with its activity: whether it waits for its client.
#[derive(Debug, Default)]
struct OpenConnections {
    // The last number and the activities by number. Held to read or change the map; no await
    // happens inside.
    connections: Mutex<(u64, HashMap<u64, Activity>)>,
}

/// The right of one TCP connection to be open. Dropping it removes the connection from the table
/// and lets another one open.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    /// The number of the connection in the table of open connections.
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

    /// Orders the connection that has waited longest for its client to close. Does nothing if no
    /// connection waits for its client.
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
    /// Creates a listener that allows at most `max_connections` open connections.
    pub(crate) fn new(listener: TcpListener, max_connections: usize) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            open: Arc::default(),
        }
    }

    /// Accepts the next TCP connection and waits until it may be open; idle connections are closed
    /// to make room. Returns the connection, its peer's address, its activity, and its permit. The
    /// caller holds the permit until the connection is closed.
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

    /// Waits for a free permit. Until one is free, orders connections that wait for their clients
    /// to close.
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

/// Sets the options of an accepted TCP socket: no delay (TCP_NODELAY), the send buffer and
/// keepalive. Errors do not matter, because the socket is then already closing.
///
/// TCP_USER_TIMEOUT is not set. It would also end the connection of a slow reader whose window is
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
