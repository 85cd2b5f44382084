//! Refuses a client that may have a session later: there are too many sessions, or claude-api does
//! not answer. The refusal is sent over WebSocket, because a browser hides the HTTP response to a
//! failed handshake from the page.

use protocol::message::{Empty, Reply, RequestId};
use protocol::rpc::{RpcError, close, code};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::wire::socket::Socket;

/// The most bytes of a message from a client that is being refused. The value is small, because the
/// bridge discards whatever such a client sends.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Returns the JSON-RPC error for a session beyond a limit (-32001, too many sessions). `reason` is
/// the name of the limit, and `limit` its value. It tells nothing about the sessions of others.
#[must_use]
pub fn too_many_sessions(reason: &str, limit: u64) -> RpcError {
    let message = "there are too many sessions; try again later";
    RpcError::new(code::TOO_MANY_SESSIONS, reason, message).with("limit", limit)
}

/// Tells a client why it gets no session now. Sends the error, if there is one, and closes with
/// 1013 (try again later) and this reason. Ends within 3 s, also when the client does not read
/// (docs/protocol.md, "Close codes").
pub async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    error: Option<RpcError>,
    reason: &str,
) {
    let mut socket = Socket::new(io, MESSAGE_BYTES, None, None).await;
    if let Some(error) = error {
        let reply = Reply::<Empty>::error(RequestId::null(), error);
        socket.queue(reply.to_message());
    }
    socket.close(close::TRY_AGAIN_LATER, reason).await;
}
