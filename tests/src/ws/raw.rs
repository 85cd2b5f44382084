//! Raw connections and frames, for tests that send what no WebSocket client would: half frames,
//! wrong handshakes, endless fragments. All other tests use
//! [`Client`](super::Client).

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

use super::Message;

/// The headers of a good handshake of version 13, each with its line end. `Host` is not among them.
pub const UPGRADE: &str = "Connection: Upgrade, close\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The first byte of a frame: a whole text message.
pub const TEXT: u8 = 0x81;
/// The first byte of a frame: the first fragment of a text message.
pub const FIRST_FRAGMENT: u8 = 0x01;
/// The first byte of a frame: a fragment in the middle of a message.
pub const FRAGMENT: u8 = 0x00;
/// The first byte of a frame: a ping.
pub const PING: u8 = 0x89;

/// Connects and sends the handshake. The caller reads its answer.
///
/// # Errors
/// If the bridge does not accept the connection.
pub async fn upgraded(bridge: SocketAddr) -> io::Result<TcpStream> {
    upgraded_with(bridge, "Host: localhost\r\n").await
}

/// Connects and sends the handshake with further headers, each with its line end.
///
/// # Errors
/// If the bridge does not accept the connection.
pub async fn upgraded_with(bridge: SocketAddr, headers: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(bridge).await?;
    let request = format!("GET /ws HTTP/1.1\r\n{headers}{UPGRADE}\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Reads the head of an answer, up to its empty line.
///
/// # Errors
/// If the connection ends before the empty line.
pub async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Returns the head of a masked frame with a payload of `length` bytes. The mask is zero, so the
/// payload needs no masking.
#[must_use]
pub fn frame_head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first, 0x80 | 127];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

/// Returns a text frame with these bytes, which need not be UTF-8, for
/// [`Client::send_frame`](super::Client::send_frame).
#[must_use]
pub fn text_frame(bytes: Vec<u8>) -> Message {
    Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true))
}

/// Returns whether these bytes of a server contain a close frame with this code. The other frames
/// must not contain the code's two bytes.
#[must_use]
pub fn has_close(bytes: &[u8], code: u16) -> bool {
    bytes.windows(2).any(|two| two == code.to_be_bytes())
}
