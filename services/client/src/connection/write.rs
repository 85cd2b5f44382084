//! Writes frames to a WebSocket.

use futures::{Sink, SinkExt};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::quiet_stream::PongSwitch;

/// The error for a frame that could not be sent, because the connection is lost or closed. Holds
/// the message of the WebSocket library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not send: {0}")]
pub struct SendError(String);

impl From<WsError> for SendError {
    fn from(error: WsError) -> Self {
        Self(error.to_string())
    }
}

/// Sends one WebSocket frame and flushes it. If pings are not to be answered, first drops the pongs
/// that the WebSocket library has queued.
pub(super) async fn frame(
    frames: &mut (impl Sink<Message, Error = WsError> + Unpin),
    pongs: &PongSwitch,
    frame: Message,
) -> Result<(), SendError> {
    if pongs.answers_pings() {
        return Ok(frames.send(frame).await?);
    }
    // Flushes waiting pongs while the stream still drops all written bytes.
    frames.flush().await?;
    pongs.send();
    frames.send(frame).await?;
    pongs.restore();
    Ok(())
}

/// Creates a WebSocket close frame with this code (RFC 6455) and reason.
pub(super) fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }))
}
