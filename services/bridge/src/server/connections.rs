//! HTTP connections that are not a WebSocket session: their socket options, their limit and their
//! requests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::boxed::Peer;

/// How long the head of an HTTP request may take to arrive (10 s). The time also runs on an idle
/// connection. When it is over, the connection is closed.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest head of an HTTP request, in bytes. It is also the size of a connection's read and
/// write buffers.
const HEAD_BYTES: usize = 32 * 1024;
/// The most open connections without a WebSocket session. One more is allowed for each session of
/// the limit, because all sessions may reconnect at the same time.
const SESSIONLESS: usize = 512;
/// The size of the kernel's send buffer for each connection (SO_SNDBUF), in bytes. The kernel
/// doubles it. It bounds the memory for a peer that does not read.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

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

/// The limit of open HTTP connections without a WebSocket session, which are in a handshake, in a
/// request or idle. Each holds a slot.
///
/// - When is a slot taken? When accept(2) returns. The upgrade or the end releases it.
/// - Who waits for whom? No connection waits. When all slots are taken, the oldest connection is
///   closed. The head of a request must arrive within 10 s, also on an idle connection.
/// - What bounds the other direction? hyper reads no further while the client does not read its
///   answer, and the kernel drops a peer that acknowledges no data for two pings.
#[derive(Debug, Clone)]
pub(super) struct ConnectionSlots {
    limit: usize,
    // A plain lock, because it is held only to read or change the table, never across an await.
    table: Arc<Mutex<SlotTable>>,
}

/// The open connections without a session, in the order in which they were accepted.
#[derive(Debug, Default)]
struct SlotTable {
    /// The number of the youngest connection.
    last_number: u64,
    /// The open connections by their number. The oldest is first. Cancelling a token closes its
    /// connection.
    open: BTreeMap<u64, CancellationToken>,
}

/// The permission to have one HTTP connection without a WebSocket session open. Dropping it lets
/// another connection open. The connection must close when `close` is cancelled, because a newer
/// one needs its slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: ConnectionSlots,
    number: u64,
    close: CancellationToken,
}

impl ConnectionSlots {
    /// Creates the slots of a bridge: 512, plus one for each of the `sessions` WebSocket sessions
    /// that it allows.
    pub(super) fn new(sessions: u64) -> Self {
        Self {
            limit: SESSIONLESS.saturating_add(usize::try_from(sessions).unwrap_or(usize::MAX)),
            table: Arc::default(),
        }
    }

    /// Takes a slot for a new connection. If all slots are taken, closes the oldest connection. So
    /// a new client always connects, also when many connections are idle.
    pub(super) fn take(&self) -> ConnectionSlot {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let SlotTable { last_number, open } = &mut *table;
        if open.len() >= self.limit
            && let Some((_, oldest)) = open.pop_first()
        {
            oldest.cancel();
        }
        *last_number += 1;
        let close = CancellationToken::new();
        open.insert(*last_number, close.clone());
        ConnectionSlot {
            slots: self.clone(),
            number: *last_number,
            close,
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let table = self.slots.table.lock();
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        table.open.remove(&self.number);
    }
}

/// Serves the HTTP requests of one connection. Returns when the connection ends, becomes a
/// WebSocket session, loses its slot to a newer connection, or the bridge stops. A stop lets a
/// running request finish.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    stop: CancellationToken,
    slot: ConnectionSlot,
) {
    let router = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = slot.close.cancelled() => {
            tracing::debug!("too many connections without a session; closed the oldest one");
            return;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "the HTTP connection of a client ended in an error");
    }
}
