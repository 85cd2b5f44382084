//! A client of the sandbox, which writes each byte itself.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::api::header;
use super::soon;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

/// An answer, as far as it arrived.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// The body, with the framing of chunks.
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Returns the `error` of the body, which must have the form of the Messages API.
    pub(crate) fn error(&self) -> Value {
        let mut body: Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body));
        assert_eq!(body["type"], "error", "{body}");
        assert!(body["error"]["message"].is_string(), "{body}");
        body["error"].take()
    }

    /// Returns whether a body in chunks has its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.body.ends_with("0\r\n\r\n")
    }
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(addr).await.unwrap(),
            received: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The service may have closed after its answer.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends a POST with its body.
    pub(crate) async fn post(&mut self, target: &str, grant: &str, body: &str) {
        let length = body.len();
        self.write(format!(
            "POST {target} HTTP/1.1\r\nHost: credentials:8005\r\nX-Api-Key: {grant}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Waits until the bytes of the answer have this text.
    pub(crate) async fn until(&mut self, text: &str) {
        soon(text, async {
            while !String::from_utf8_lossy(&self.received).contains(text) {
                assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0);
            }
        })
        .await;
    }

    /// Reads the answer until the service closes.
    pub(crate) async fn answer(mut self) -> Answer {
        // A cut answer may end with a reset.
        let _ = soon("an answer", self.stream.read_to_end(&mut self.received)).await;
        let text = String::from_utf8_lossy(&self.received).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}
