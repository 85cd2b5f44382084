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
    /// Sends a request or a notification.
    ///
    /// # Errors
    /// As [`Connection::send`](super::Connection::send).
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), SendError> {
        self.send_text(message.to_json()).await
    }

    /// Sends any text as one text frame, even if it is not valid JSON.
    ///
    /// # Errors
    /// As [`Connection::send`](super::Connection::send).
    pub async fn send_text(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), SendError> {
        self.send_frame(Message::Text(text.into())).await
    }

    /// Sends any frame, including a ping or a pong.
    ///
    /// # Errors
    /// As [`Connection::send`](super::Connection::send).
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), SendError> {
        write::frame(&mut self.sink, &self.pongs, frame).await
    }

    /// Sends a close frame with this code and reason. The reader then reads the bridge's close
    /// frame.
    ///
    /// # Errors
    /// As [`Connection::send`](super::Connection::send).
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), SendError> {
        self.send_frame(write::close(code, reason)).await
    }
}

impl ConnectionReader {
    /// Reads the next frame: text, binary, ping or pong. Cancel-safe: no frame is lost if the
    /// future is dropped.
    ///
    /// # Errors
    /// As [`Connection::next`](super::Connection::next).
    pub async fn next(&mut self) -> Result<Frame, ReadError> {
        read::frame(&mut self.stream).await
    }

    /// Reads the next text frame, which has one message. Skips pings and pongs. Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::next_text`](super::Connection::next_text).
    pub async fn next_text(&mut self) -> Result<Utf8Bytes, ReadError> {
        read::text(&mut self.stream).await
    }

    /// Reads and parses the next message of the bridge. Skips pings and pongs. Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::next_message`](super::Connection::next_message).
    pub async fn next_message(&mut self) -> Result<ServerMessage, ReadError> {
        read::message(&mut self.stream).await
    }
}
