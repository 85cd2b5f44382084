//! Reads WebSocket frames, and parses the bridge's messages in them.

use std::fmt;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use protocol::message::{BadMessage, ServerMessage};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

/// A WebSocket frame from the bridge. A message that arrived in several fragments counts as one
/// frame. A close frame is not included; it is [`ReadError::Closed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame, which holds one message of the bridge as JSON text.
    Text(Utf8Bytes),
    /// A binary frame. A bridge that follows the protocol sends none.
    Binary(Bytes),
    /// A ping of the bridge. The connection answers it by itself, unless
    /// `ConnectionOptions::answer_pings` is off.
    Ping(Bytes),
    /// The answer of the bridge to a ping that this client sent.
    Pong(Bytes),
}

/// The content of a WebSocket close frame, which says why the bridge ends the connection
/// (docs/protocol.md, "Close codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The close code of RFC 6455, for programs, for example 1000 (normal) or 1008 (policy
    /// violation).
    pub code: u16,
    /// The reason for people, which may be empty.
    pub reason: String,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, reason } = self;
        if reason.is_empty() {
            write!(f, "{code}")
        } else {
            write!(f, "{code}: {reason}")
        }
    }
}

impl From<CloseFrame> for Close {
    fn from(frame: CloseFrame) -> Self {
        Self {
            code: frame.code.into(),
            reason: frame.reason.as_str().to_owned(),
        }
    }
}

/// The reason why a read from the connection returned no frame or message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bridge sent a close frame. Holds its code and reason, or `None` if the frame has no
    /// code.
    #[error("the bridge closed the connection{}", close_text(.0.as_ref()))]
    Closed(Option<Close>),
    /// The TCP connection was closed in an orderly way, with or without an earlier close frame.
    #[error("the connection was closed")]
    Ended,
    /// The bridge sent a frame after its close frame, which RFC 6455 (section 5.5.1) forbids.
    #[error("a frame followed a close frame")]
    FrameAfterClose,
    /// The TCP connection broke, or the bridge sent bytes that are not valid WebSocket. Holds the
    /// message of the library.
    #[error("{0}")]
    Broken(String),
    /// A binary frame arrived where a text was expected. The connection is still usable.
    #[error("received a binary frame instead of a text")]
    Binary,
    /// A text frame is not a valid message of the bridge. The connection is still usable.
    #[error(transparent)]
    BadMessage(#[from] BadMessage),
}

fn close_text(close: Option<&Close>) -> String {
    close.map_or_else(String::new, |close| format!(" ({close})"))
}

/// The received frames of a WebSocket, as a stream, for a whole connection and for its split
/// reader.
pub(super) trait Frames: Stream<Item = Result<Message, WsError>> + Unpin {}

impl<S: Stream<Item = Result<Message, WsError>> + Unpin> Frames for S {}

pub(super) async fn frame(frames: &mut impl Frames) -> Result<Frame, ReadError> {
    loop {
        return match frames.next().await {
            Some(Ok(Message::Text(text))) => Ok(Frame::Text(text)),
            Some(Ok(Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
            Some(Ok(Message::Ping(bytes))) => Ok(Frame::Ping(bytes)),
            Some(Ok(Message::Pong(bytes))) => Ok(Frame::Pong(bytes)),
            Some(Ok(Message::Close(close))) => Err(ReadError::Closed(close.map(Close::from))),
            // The library yields raw frames only to writers.
            Some(Ok(Message::Frame(_))) => continue,
            Some(Err(WsError::Protocol(ProtocolError::ReceivedAfterClosing))) => {
                Err(ReadError::FrameAfterClose)
            }
            Some(Err(error)) => Err(ReadError::Broken(error.to_string())),
            None => Err(ReadError::Ended),
        };
    }
}

pub(super) async fn text(frames: &mut impl Frames) -> Result<Utf8Bytes, ReadError> {
    loop {
        match frame(frames).await? {
            Frame::Text(text) => return Ok(text),
            Frame::Binary(_) => return Err(ReadError::Binary),
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
    }
}

pub(super) async fn message(frames: &mut impl Frames) -> Result<ServerMessage, ReadError> {
    let text = text(frames).await?;
    Ok(ServerMessage::from_json(&text)?)
}
