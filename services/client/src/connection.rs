//! A single WebSocket connection to a bridge, which does not reconnect. [`Client`](crate::Client)
//! is built on it; tests and programs that need every frame use it directly.
//!
//! A connection sends typed messages ([`Connection::send`]), any text
//! ([`Connection::send_text`]) and any frame ([`Connection::send_frame`]). It reads frames
//! ([`Connection::next`]), texts ([`Connection::next_text`]) or typed messages
//! ([`Connection::next_message`]). It has no timeouts: wrap a call in `tokio::time::timeout`.
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bridge = fake::Fake::start(fake::Plan::of("hello")).await;
//! # let url = bridge.url();
//! use client::{Connection, ConnectionOptions, ReadError};
//! use protocol::message::{ClientMessage, PingParams, ServerMessage};
//!
//! let address = url.parse()?;
//! let mut connection = Connection::connect(&address, &ConnectionOptions::default()).await?;
//! let first = connection.next_message().await?;
//! assert!(matches!(first, ServerMessage::Connected(_)));
//!
//! connection.send(&ClientMessage::request(1, PingParams {})).await?;
//! let ServerMessage::Reply(reply) = connection.next_message().await? else {
//!     panic!("the first message is not the answer");
//! };
//! assert_eq!(reply.id.as_u64(), Some(1));
//!
//! connection.close(1000, "done").await?;
//! let Err(ReadError::Closed(Some(close))) = connection.next().await else {
//!     panic!("the bridge did not answer the close frame");
//! };
//! assert_eq!(close.code, 1000);
//! # Ok(()) }
//! ```

mod connect;
mod halves;
mod quiet_stream;
mod read;
mod write;

use bytes::Bytes;
use protocol::message::{ClientMessage, ServerMessage};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::Address;
pub use connect::{ConnectError, ConnectionOptions};
pub use halves::{ConnectionReader, ConnectionWriter};
use quiet_stream::{PongSwitch, QuietStream};
pub use read::{Close, Frame, ReadError};
pub use write::SendError;

/// A single WebSocket connection to a bridge, without reconnects or timeouts. Dropping it closes
/// the TCP connection without a close frame.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<QuietStream>,
    pongs: PongSwitch,
}

impl Connection {
    /// Connects to the bridge, with TLS for a `wss://` address, and upgrades the connection to
    /// WebSocket. The bridge's greeting is not read; the first call of [`Self::next_message`]
    /// returns it.
    ///
    /// Dropping the future ends the attempt. There is no timeout.
    ///
    /// [`ConnectError::Io`] if nothing accepts the TCP connection, [`ConnectError::Tls`] if the
    /// server's certificate is not accepted, [`ConnectError::Refused`] if the server answers with
    /// an HTTP error, and [`ConnectError::NotWebSocket`] if it is no WebSocket server.
    pub async fn connect(
        address: &Address,
        options: &ConnectionOptions,
    ) -> Result<Self, ConnectError> {
        let (socket, pongs) = connect::connect(address, options).await?;
        Ok(Self { socket, pongs })
    }

    /// Waits for the next WebSocket frame, which is a text, binary, ping or pong frame.
    /// Cancel-safe, because no frame is lost if the future is dropped.
    ///
    /// # Errors
    /// The connection has ended or is broken. After [`ReadError::Closed`], call again to detect a
    /// frame that follows the close frame, which the protocol forbids.
    pub async fn next(&mut self) -> Result<Frame, ReadError> {
        read::frame(&mut self.socket).await
    }

    /// Waits for the next text frame, which holds one message of the bridge. Skips pings and pongs.
    /// Cancel-safe.
    ///
    /// As for [`Self::next`], and [`ReadError::Binary`] if a binary frame arrives.
    pub async fn next_text(&mut self) -> Result<Utf8Bytes, ReadError> {
        read::text(&mut self.socket).await
    }

    /// Waits for the next message of the bridge and parses it. Skips pings and pongs. Cancel-safe.
    ///
    /// As for [`Self::next_text`], and [`ReadError::BadMessage`] if the text is not a valid
    /// message.
    pub async fn next_message(&mut self) -> Result<ServerMessage, ReadError> {
        read::message(&mut self.socket).await
    }

    /// Sends a JSON-RPC request or notification to the bridge.
    ///
    /// Dropping the future may leave a part of the frame in the send buffer. The next send writes
    /// the rest first.
    ///
    /// [`SendError`] if the connection is lost or closed.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), SendError> {
        self.send_text(message.to_json()).await
    }

    /// Sends any text as one text frame, even if it is not valid JSON.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_text(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), SendError> {
        self.send_frame(Message::Text(text.into())).await
    }

    /// Sends any bytes as one binary frame. The protocol has no binary frames, so the bridge
    /// refuses it. This is for tests of that refusal.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) -> Result<(), SendError> {
        self.send_frame(Message::Binary(bytes.into())).await
    }

    /// Sends any WebSocket frame, including a ping or a pong.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), SendError> {
        write::frame(&mut self.socket, &self.pongs, frame).await
    }

    /// Starts to close the connection, with a close frame that has this code (RFC 6455, for example
    /// 1000 for a normal end) and reason. The bridge answers with a close frame, which the next
    /// read returns as [`ReadError::Closed`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), SendError> {
        self.send_frame(write::close(code, reason)).await
    }

    /// Splits the connection into a writer and a reader, so that one task can read while another
    /// one writes.
    ///
    /// With [`ConnectionOptions::answer_pings`] off, a ping that is read while the writer sends may
    /// still be answered.
    #[must_use]
    pub fn split(self) -> (ConnectionWriter, ConnectionReader) {
        halves::split(self.socket, self.pongs)
    }
}
