//! The TCP connections of clients: their socket options, their limits and their requests.

mod activity;
mod refusal;
mod slots;

use std::net::IpAddr;
use std::sync::Arc;

use addresses::ExemptPeers;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::ConnectionLimits;
use crate::metrics::Metrics;
use activity::{Expired, WatchedStream};
use refusal::refuse;
pub(super) use slots::OpenConnection;
use slots::{ConnectionSlot, ConnectionSlots, Full};

/// The longest head of an HTTP request, in bytes. It is also the size of a connection's read and
/// write buffers.
const HEAD_BYTES: usize = 32 * 1024;
/// The size of the kernel's send buffer for each connection (SO_SNDBUF), in bytes. The kernel
/// doubles it. It bounds the memory for a peer that does not read.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// The most connections beyond the limit of their peer that are answered with 429 at the same time.
/// Further ones are closed without an answer.
const REFUSALS: usize = 64;

/// Sets the options of an accepted TCP socket: TCP_NODELAY, a small send buffer, and
/// TCP_USER_TIMEOUT. `user_timeout_ms` is the time in milliseconds after which the kernel drops a
/// peer that acknowledges no data. A failure is only logged, because the connection works without
/// the options.
pub(super) fn set_options(stream: &TcpStream, user_timeout_ms: u32) {
    let set = || {
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES)?;
        rustix::net::sockopt::set_tcp_user_timeout(stream, user_timeout_ms)?;
        std::io::Result::Ok(())
    };
    if let Err(error) = set() {
        tracing::debug!(
            %error,
            "could not set the socket options of a client's connection; serving it anyway"
        );
    }
}

/// The connection of a request, stored as an extension of the request.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// The address of the other end.
    pub(super) peer: IpAddr,
    /// Whether the connection was accepted on the port for proxies.
    pub(super) is_proxy_port: bool,
    /// Counts the connection until the last clone is dropped.
    pub(super) open: Arc<OpenConnection>,
}

/// The connections of all clients of a bridge. A clone refers to the same connections.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    slots: ConnectionSlots,
    limits: ConnectionLimits,
    /// The peers to which the limit for each peer does not apply.
    exempt: Arc<ExemptPeers>,
    /// The permits to answer a connection beyond the limit of its peer.
    refusals: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The socket.
    pub(super) stream: TcpStream,
    /// The address of the other end.
    pub(super) peer: IpAddr,
    /// Whether it was accepted on the port for proxies.
    pub(super) is_proxy_port: bool,
}

impl Connections {
    /// Creates the limits without a connection. The peers in `exempt` may have any number of
    /// connections. Cancelling `stop` ends the connections after their running requests.
    pub(super) fn new(
        limits: ConnectionLimits,
        exempt: Arc<ExemptPeers>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            slots: ConnectionSlots::new(limits.connections, limits.per_peer),
            limits,
            exempt,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            metrics,
            stop,
        }
    }

    /// Handles a connection until it ends, becomes a WebSocket session, loses its slot to a newer
    /// connection, or the bridge stops. A stop lets a running request finish.
    ///
    /// A connection beyond the limit of its peer takes no slot, so that it cannot push out the
    /// connections of other peers. It is answered with 429 and closed.
    pub(super) fn handle(
        &self,
        accepted: Accepted,
        router: Router,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Taken before the task runs, in the order in which the connections were accepted.
        let slot = self.slots.take(accepted.peer, false);
        let this = self.clone();
        async move {
            let slot = match slot {
                Err(Full::Peer) => match this.judge_surplus(accepted.peer).await {
                    Some(slot) => Ok(slot),
                    None => return this.refuse_peer(accepted.stream).await,
                },
                slot => slot,
            };
            match slot {
                Ok((slot, open)) => this.serve(accepted, router, slot, open).await,
                Err(_) => {
                    this.metrics.refused("connections");
                    tracing::debug!(
                        "every connection is a session or has a request; closed a new one"
                    );
                }
            }
        }
    }

    /// Returns a slot for a connection beyond the limit of its peer, if the limit does not apply to
    /// that peer. Waits at most for the resolution of the names of trusted proxies, and only if
    /// few connections wait.
    async fn judge_surplus(&self, peer: IpAddr) -> Option<(ConnectionSlot, OpenConnection)> {
        let _permit = self.refusals.try_acquire().ok()?;
        if !self.exempt.include(peer).await {
            return None;
        }
        let slot = self.slots.take(peer, true);
        if slot.is_err() {
            self.metrics.refused("connections");
        }
        slot.ok()
    }

    /// Closes a connection beyond the limit of its peer. Answers with 429 (Too Many Requests)
    /// before that, unless too many others are being answered.
    async fn refuse_peer(&self, stream: TcpStream) {
        self.metrics.refused("too_many_connections");
        if let Ok(_permit) = self.refusals.try_acquire() {
            refuse(stream, self.limits.per_peer).await;
        }
    }

    /// Serves the HTTP requests of one connection.
    async fn serve(
        &self,
        accepted: Accepted,
        router: Router,
        slot: ConnectionSlot,
        open: OpenConnection,
    ) {
        let Accepted {
            stream,
            peer,
            is_proxy_port,
        } = accepted;
        let connection = Connection {
            peer,
            is_proxy_port,
            open: Arc::new(open),
        };
        let activity = slot.activity().clone();
        let stream = WatchedStream::new(stream, activity.clone());
        let (requests, responses) = (activity.clone(), activity.clone());
        let router = router
            .map_request(move |mut request: http::Request<Incoming>| {
                requests.begin();
                request.extensions_mut().insert(connection.clone());
                request
            })
            .map_response(move |response| responses.until_sent(response));
        let connection = http1::Builder::new()
            // `Activity` has the time limits: hyper has one for both the head and an idle time.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            expired = activity.expired(self.limits.head, self.limits.keep_alive) => {
                self.metrics.refused(match expired {
                    Expired::Head => "head_ms",
                    Expired::Idle => "keep_alive_ms",
                });
                return;
            }
            () = slot.must_close() => {
                self.metrics.refused("connections");
                tracing::debug!("too many connections; closed one that waited for its client");
                return;
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the HTTP connection of a client ended in an error");
        }
    }
}
