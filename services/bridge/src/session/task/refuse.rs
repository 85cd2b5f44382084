//! Refuses a session over the limit, over WebSocket, so that every client can read the reason.

use protocol::message::{Empty, Reply, RequestId};
use protocol::rpc::{RpcError, close, code};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::wire::socket::Socket;

/// The most bytes of a message from a client that is being refused.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Sends the error -32001 to a client over the limit of `sessions` open sessions, and closes its
/// connection, within 3 s (docs/protocol.md, "Close codes").
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
