//! Refuses a client when the bridge has too many sessions. The refusal is sent over WebSocket,
//! because a browser hides the HTTP response to a failed handshake from the page.

use protocol::message::{Empty, Reply, RequestId};
use protocol::rpc::{RpcError, close, code};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::wire::socket::Socket;

/// The most bytes of a message from a client that is being refused. The value is small, because the
/// bridge discards whatever such a client sends.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Tells a client that the bridge already has `sessions` open sessions, which is its limit. Sends
/// the error -32001 (too many sessions), and closes with 1013 (try again later). Ends within 3 s,
/// also when the client does not read (docs/protocol.md, "Close codes").
pub async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(io: T, sessions: u64) {
    let mut socket = Socket::new(io, MESSAGE_BYTES, None, None).await;
    let error = RpcError::new(
        code::TOO_MANY_SESSIONS,
        "too_many_sessions",
        "there are too many sessions; try again later",
    )
    .with("limit", sessions);
    let reply = Reply::<Empty>::error(RequestId::null(), error);
    socket.queue(reply.to_message());
    socket
        .close(close::TRY_AGAIN_LATER, "too many sessions")
        .await;
}
