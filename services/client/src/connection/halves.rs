//! The writer and the reader of a split connection, for two tasks that work at the same time.

use futures::StreamExt;
use futures::stream::{SplitSink, SplitStream};
use protocol::message::{ClientMessage, ServerMessage};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::quiet_stream::{PongSwitch, QuietStream};
use super::read::{self, Frame, ReadError};
use super::write::{self, SendError};

type Socket = WebSocketStream<QuietStream>;

/// The sending half of a split [`Connection`](crate::Connection). Dropping it does not close the
/// connection while the reader exists.
#[derive(Debug)]
pub struct ConnectionWriter {
    sink: SplitSink<Socket, Message>,
    pongs: PongSwitch,
}

/// The receiving half of a split [`Connection`](crate::Connection). While it reads, it also answers
/// pings.
#[derive(Debug)]
pub struct ConnectionReader {
    stream: SplitStream<Socket>,
}

pub(super) fn split(socket: Socket, pongs: PongSwitch) -> (ConnectionWriter, ConnectionReader) {
    let (sink, stream) = socket.split();
    (
        ConnectionWriter { sink, pongs },
        ConnectionReader { stream },
    )
}

impl ConnectionWriter {
    /// Sends a JSON-RPC request or notification to the bridge.
    ///
    /// # Errors
    /// [`SendError`] if the connection is lost or closed.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), SendError> {
        self.send_text(message.to_json()).await
    }

    /// Sends any text as one text frame, even if it is not valid JSON.
    ///
    /// # Errors
    /// [`SendError`] if the connection is lost or closed.
    pub async fn send_text(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), SendError> {
        self.send_frame(Message::Text(text.into())).await
    }

    /// Sends any WebSocket frame, including a ping or a pong.
    ///
    /// # Errors
    /// [`SendError`] if the connection is lost or closed.
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), SendError> {
        write::frame(&mut self.sink, &self.pongs, frame).await
    }

    /// Starts to close the connection, with a close frame that has this code (RFC 6455, for example
    /// 1000 for a normal end) and reason. The bridge answers with a close frame, which the reader
    /// returns as [`ReadError::Closed`].
    ///
    /// # Errors
    /// [`SendError`] if the connection is lost or closed.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), SendError> {
        self.send_frame(write::close(code, reason)).await
    }
}

impl ConnectionReader {
    /// Waits for the next WebSocket frame, which is a text, binary, ping or pong frame.
    /// Cancel-safe, because no frame is lost if the future is dropped.
    ///
    /// # Errors
    /// The connection has ended or is broken; [`ReadError`] says how.
    pub async fn next(&mut self) -> Result<Frame, ReadError> {
        read::frame(&mut self.stream).await
    }

    /// Waits for the next text frame, which holds one message of the bridge. Skips pings and pongs.
    /// Cancel-safe.
    ///
    /// # Errors
    /// As for [`Self::next`], and [`ReadError::Binary`] if a binary frame arrives.
    pub async fn next_text(&mut self) -> Result<Utf8Bytes, ReadError> {
        read::text(&mut self.stream).await
    }

    /// Waits for the next message of the bridge and parses it. Skips pings and pongs. Cancel-safe.
    ///
    /// # Errors
    /// As for [`Self::next_text`], and [`ReadError::BadMessage`] if the text is not a valid
    /// message.
    pub async fn next_message(&mut self) -> Result<ServerMessage, ReadError> {
        read::message(&mut self.stream).await
    }
}
