//! The limit of open TCP connections. Connections of vanished peers and of idle clients are closed.
//!
//! - A connection acquires a permit when it is accepted, and releases it when it is closed.
//! - When no permit is free, a connection that waits for its own client is closed for the new one:
//!   of the peer with the most such connections, the one that has waited longest. So no peer pushes
//!   out another, and silent clients, incomplete requests and unread short answers delay no other
//!   client. Two kinds of connections are never closed for another. One has a request that is
//!   being processed. The other has an open stream, whose reader may be slow; streams therefore
//!   have their own limit, three quarters of all connections (see [`crate::streams`]).
//! - One peer may have a limited number of connections (`--connections-per-peer`). A further one is
//!   marked as excess, and the caller refuses it unless the peer is exempt.
//! - Each connection buffers less than three chunks of its answer (`CHUNK_BYTES` in `output.rs`).

pub(crate) mod activity;
mod io;
mod open_connections;

use std::io::Result;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::serve::Listener;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use activity::Activity;
pub(crate) use io::Connection;
use open_connections::OpenConnections;

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

/// The listening TCP sockets of the service.
#[derive(Debug)]
pub struct Listeners {
    /// The socket for all clients.
    pub clients: TcpListener,
    /// The socket for reverse proxies, which must name their clients (`--proxy-port`). `None` if
    /// there is none.
    pub proxies: Option<TcpListener>,
    /// The socket for the service `credentials` (`--credentials-port`). `None` without it.
    pub credentials: Option<TcpListener>,
}

impl Listeners {
    /// Accepts the next connection of a client or a proxy. The flag is true if it arrived on the
    /// socket for proxies. Cancel-safe.
    async fn accept(&mut self) -> (TcpStream, SocketAddr, bool) {
        let Self {
            clients,
            proxies,
            credentials: _,
        } = self;
        let from_proxy = async {
            match proxies {
                Some(proxies) => Listener::accept(proxies).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (stream, peer) = Listener::accept(clients) => (stream, peer, false),
            (stream, peer) = from_proxy => (stream, peer, true),
        }
    }

    /// Returns the address of the socket for all clients, and that of the socket for proxies.
    ///
    /// # Errors
    /// The operating system does not return one of them.
    pub fn addresses(&self) -> Result<(SocketAddr, Option<SocketAddr>)> {
        let proxies = self.proxies.as_ref().map(TcpListener::local_addr);
        Ok((self.clients.local_addr()?, proxies.transpose()?))
    }
}

/// The TCP listeners of the service, with limits of open connections. Each connection holds a
/// permit while it is open.
pub(crate) struct Connections {
    /// The listening TCP sockets.
    listeners: Listeners,
    /// The permits for connections that may still be opened.
    permits: Arc<Semaphore>,
    /// The open connections, of which one may be closed for a new one. Held to read or change the
    /// table; no await happens inside.
    open: Arc<Mutex<OpenConnections>>,
}

/// A new connection, which may be open.
pub(crate) struct Accepted {
    /// The socket.
    pub(crate) connection: Connection,
    /// The address of the other end.
    pub(crate) peer: IpAddr,
    /// Whether the connection arrived on the socket for reverse proxies.
    pub(crate) is_proxy_port: bool,
    /// Whether the peer already has as many connections as one peer may have.
    pub(crate) is_excess: bool,
    /// Whether the connection waits for its client.
    pub(crate) activity: Activity,
    /// The right of the connection to be open. The caller holds it until the connection is closed.
    pub(crate) permit: ConnectionPermit,
}

/// The right of one TCP connection to be open. Dropping it removes the connection from the table
/// and lets another one open.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    /// The number of the connection in the table of open connections.
    number: u64,
    open: Arc<Mutex<OpenConnections>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        lock(&self.open).remove(self.number);
    }
}

/// Locks the table of open connections.
fn lock(open: &Mutex<OpenConnections>) -> MutexGuard<'_, OpenConnections> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    /// Creates listeners that allow at most `max_connections` open connections, of which one peer
    /// may have `max_per_peer`.
    pub(crate) fn new(listeners: Listeners, max_connections: usize, max_per_peer: u64) -> Self {
        Self {
            listeners,
            permits: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            open: Arc::new(Mutex::new(OpenConnections::new(max_per_peer))),
        }
    }

    /// Accepts the next TCP connection and waits until it may be open; idle connections are closed
    /// to make room.
    pub(crate) async fn accept(&mut self) -> Accepted {
        let (stream, peer, is_proxy_port) = self.listeners.accept().await;
        prepare(&stream);
        let permit = self.acquire().await;
        let activity = Activity::default();
        let (number, is_excess) = lock(&self.open).insert(peer.ip(), activity.clone());
        Accepted {
            connection: Connection::new(stream, activity.clone()),
            peer: peer.ip(),
            is_proxy_port,
            is_excess,
            activity,
            permit: ConnectionPermit {
                number,
                open: Arc::clone(&self.open),
                _permit: permit,
            },
        }
    }

    /// Waits for a free permit. Until one is free, orders connections that wait for their clients
    /// to close.
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return Some(permit);
            }
            lock(&self.open).make_room();
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
