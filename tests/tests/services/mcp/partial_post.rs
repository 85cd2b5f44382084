//! POST requests written piece by piece, whose body can stop half-way.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// The header of a body whose length is unknown.
pub(super) const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// A POST to `/mcp` on a connection of its own.
#[derive(Debug)]
pub(super) struct PartialPost(TcpStream);

impl PartialPost {
    /// Sends the head with these additional lines. Returns when the bridge reads the body, or with
    /// the answer when the bridge refuses it at once.
    pub(super) async fn begin(addr: SocketAddr, more: &str) -> Result<Self, String> {
        let mut wire = Self(TcpStream::connect(addr).await.expect("a connection"));
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             Expect: 100-continue\r\n{more}\r\n"
        );
        wire.send(&head).await;
        let continue_line = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut first = vec![0; continue_line.len()];
        let read = timeout(PATIENCE, wire.0.read_exact(&mut first)).await;
        read.expect("an answer in time").expect("an answer");
        let first = String::from_utf8_lossy(&first).into_owned();
        match first == continue_line {
            true => Ok(wire),
            false => Err(first + &wire.answer().await),
        }
    }

    /// Sends these bytes of the body as they are.
    pub(super) async fn send(&mut self, bytes: &str) {
        let sent = self.0.write_all(bytes.as_bytes()).await;
        sent.expect("the bridge reads");
    }

    /// Returns the rest of the bridge's answer, until the bridge closes the connection.
    pub(super) async fn answer(mut self) -> String {
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut answer)).await;
        read.expect("an end in time").expect("an orderly end");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Returns one chunk of a chunked body.
pub(super) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
