//! Opens a WebSocket connection, first the transport with the socket options, then the HTTP
//! upgrade.

use std::io;

use http::{HeaderName, HeaderValue, Response};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error as WsError};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::quiet_stream::{PongSwitch, QuietStream};
use crate::Address;
use crate::tls::{Roots, TlsError};
use crate::transport::{Transport, TransportError};

/// The default of [`ConnectionOptions::message_bytes`], the maximum size of a received message, in
/// bytes (64 MiB). It is far above the 524,288 bytes that the bridge sends at most
/// (docs/protocol.md, "Flow control").
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The default of [`ConnectionOptions::read_buffer_bytes`], in bytes. It is the WebSocket library's
/// own default.
const READ_BUFFER_BYTES: usize = 128 * 1024;

/// The settings of one WebSocket connection, such as headers, buffer sizes and pings. The defaults
/// suit a client that reads all the time.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// Headers of the HTTP upgrade request, for example `Origin`. Each replaces an existing header
    /// of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The root certificates that are trusted for a `wss://` address.
    pub roots: Roots,
    /// The size of the TCP socket's receive buffer, in bytes (`SO_RCVBUF`). `None` leaves the
    /// system's default. With a small buffer the bridge notices a slow reader sooner.
    pub receive_buffer_bytes: Option<u32>,
    /// The size of the read buffer in this program, in bytes, which is the most that one read from
    /// the socket returns. Each connection allocates one such buffer.
    pub read_buffer_bytes: usize,
    /// The maximum size of a message from the bridge, in bytes. A longer message ends the
    /// connection with [`ReadError::Broken`](crate::ReadError::Broken).
    pub message_bytes: usize,
    /// Whether pings of the bridge are answered with pongs, as RFC 6455 (section 5.5.2) requires.
    /// If false, the bridge closes the connection after a while (docs/protocol.md, "Connecting");
    /// tests use that.
    pub answer_pings: bool,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            roots: Roots::default(),
            receive_buffer_bytes: None,
            read_buffer_bytes: READ_BUFFER_BYTES,
            message_bytes: MESSAGE_BYTES,
            answer_pings: true,
        }
    }
}

/// The reason why a WebSocket connection to a bridge could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The connection could not be opened, or broke before the WebSocket upgrade.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS with this server is not possible.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server answered the upgrade request with another HTTP status than 101 (Switching
    /// Protocols). The body of a bridge's answer is a [`Problem`](protocol::Problem).
    #[error("HTTP {}", .0.status())]
    Refused(Box<Response<Vec<u8>>>),
    /// The server's answer is not a valid WebSocket upgrade, so the server is no bridge.
    #[error("it does not speak WebSocket: {0}")]
    NotWebSocket(String),
}

impl From<TransportError> for ConnectError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Io(error) => Self::Io(error),
            TransportError::Tls(error) => Self::Tls(error),
        }
    }
}

impl From<WsError> for ConnectError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Io(error) => Self::Io(error),
            WsError::Http(response) => {
                let (head, body) = response.into_parts();
                let body = body.unwrap_or_default();
                Self::Refused(Box::new(Response::from_parts(head, body)))
            }
            error => Self::NotWebSocket(error.to_string()),
        }
    }
}

pub(super) async fn connect(
    address: &Address,
    options: &ConnectionOptions,
) -> Result<(WebSocketStream<QuietStream>, PongSwitch), ConnectError> {
    let ConnectionOptions {
        headers,
        roots,
        receive_buffer_bytes,
        read_buffer_bytes,
        message_bytes,
        answer_pings,
    } = options;
    let mut request = address.as_str().into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    let stream = Transport::connect(address, roots, *receive_buffer_bytes).await?;
    let pongs = PongSwitch::new(*answer_pings);
    let stream = QuietStream::new(stream, pongs.clone());
    let config = WebSocketConfig::default()
        .read_buffer_size(*read_buffer_bytes)
        .max_message_size(Some(*message_bytes))
        .max_frame_size(Some(*message_bytes));
    let upgrade = client_async_with_config(request, stream, Some(config));
    let (socket, _): (_, tungstenite::handshake::client::Response) = upgrade.await?;
    // Only now, because the request of the upgrade must be sent in any case.
    pongs.restore();
    Ok((socket, pongs))
}
