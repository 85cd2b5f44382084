//! HTTP requests, byte for byte, that no client would send, and their answers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ws::raw::UPGRADE;

/// A request as the bytes of its head and body. It asks for the end of the connection.
#[derive(Debug, Clone)]
pub struct RawRequest {
    line: String,
    headers: Vec<u8>,
    host: Option<String>,
    body: Vec<u8>,
    has_length: bool,
    upgrades: bool,
}

impl RawRequest {
    /// Creates a request without a body. The target may have any form.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            line: format!("{method} {target} HTTP/1.1"),
            headers: Vec::new(),
            host: Some("localhost".to_owned()),
            body: Vec::new(),
            has_length: matches!(method, "PUT" | "POST"),
            upgrades: false,
        }
    }

    /// Creates a WebSocket handshake (RFC 6455, section 4.1).
    #[must_use]
    pub fn upgrade(target: &str) -> Self {
        let mut request = Self::new("GET", target);
        request.upgrades = true;
        request
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let line = [name.as_bytes(), b": ", value.as_ref()].concat();
        self.line(line)
    }

    /// Adds a line to the head as it is, without a check of its form.
    #[must_use]
    pub fn line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.headers.extend_from_slice(line.as_ref());
        self.headers.extend_from_slice(b"\r\n");
        self
    }

    /// Adds the header `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Sets the header `Host`, or leaves it out. The default is `localhost`.
    #[must_use]
    pub fn host(mut self, host: Option<&str>) -> Self {
        self.host = host.map(str::to_owned);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.has_length = true;
        self
    }

    /// Sets a body that follows the head as it is, without a length of its own.
    #[must_use]
    pub fn body_without_length(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.has_length = false;
        self
    }

    /// Returns the bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        if let Some(host) = &self.host {
            bytes.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        bytes.extend_from_slice(&self.headers);
        if self.has_length {
            let length = format!("Content-Length: {}\r\n", self.body.len());
            bytes.extend_from_slice(length.as_bytes());
        }
        if self.upgrades {
            bytes.extend_from_slice(UPGRADE.as_bytes());
        } else {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends the request over a connection of its own, and reads until the server closes.
    ///
    /// # Panics
    /// If there is no connection, or no end of the answer within `patience`.
    pub async fn send(&self, addr: SocketAddr, patience: Duration) -> RawAnswer {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        self.exchange(stream, patience).await
    }

    async fn exchange(&self, mut stream: TcpStream, patience: Duration) -> RawAnswer {
        let talk = async {
            // The server may refuse the head and close before it has read everything.
            let _ = stream.write_all(&self.bytes()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            RawAnswer::parse(&answer)
        };
        let answer = tokio::time::timeout(patience, talk).await;
        answer.unwrap_or_else(|_| panic!("{} has no end of its answer", self.line))
    }
}

/// Everything that a server sent on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status code of the first answer; 0 if the server sent none.
    pub code: u16,
    /// The number of answers on the connection.
    pub count: usize,
    /// The head of the first answer, without its status line.
    pub head: String,
    /// All bytes that the server sent.
    pub text: String,
}

impl RawAnswer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            code: code.unwrap_or(0),
            count: text.matches("HTTP/1.1 ").count(),
            head: head.to_owned(),
            text,
        }
    }

    /// Returns the first value of a header of the first answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").filter_map(|l| l.split_once(':'));
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// Returns the JSON of the answer: from the first brace to the last. Null if there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let (Some(from), Some(to)) = (self.text.find('{'), self.text.rfind('}')) else {
            return Value::Null;
        };
        serde_json::from_str(&self.text[from..=to]).unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_that_were_given() {
        let request = RawRequest::new("PUT", "//x")
            .header("A", b"\xff\0")
            .body("hi");
        let expected = b"PUT //x HTTP/1.1\r\nHost: localhost\r\nA: \xff\0\r\n\
            Content-Length: 2\r\nConnection: close\r\n\r\nhi";
        assert_eq!(request.bytes(), expected);
        let bare = RawRequest::new("GET", "/").host(None).line("B : c");
        assert_eq!(
            bare.bytes(),
            b"GET / HTTP/1.1\r\nB : c\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_has_a_code_headers_and_json() {
        let answer = RawAnswer::parse(b"HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n{\"c\":1}");
        assert_eq!(
            (answer.code, answer.count, answer.header("a")),
            (401, 1, Some("b"))
        );
        assert_eq!(answer.json(), serde_json::json!({"c": 1}));
        let none = RawAnswer::parse(b"");
        assert_eq!((none.code, none.count, none.json()), (0, 0, Value::Null));
    }
}
