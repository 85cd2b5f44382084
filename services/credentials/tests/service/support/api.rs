//! A fake API, which shows each byte that it gets.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::soon;

/// A stream of bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Handler = dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The API. It runs the handler of the test for each connection.
pub(crate) struct Api {
    pub(crate) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Api {
    pub(crate) async fn start<F>(handler: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: Arc<Handler> = Arc::new(move |exchange| Box::pin(handler(exchange)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handler(Exchange::new(Box::new(stream))));
            }
        });
        Self {
            addr,
            connections,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A connection of the service to the API.
pub(crate) struct Exchange {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

impl Exchange {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Reads the head of the next request. `None` if the service has closed.
    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            let end = self.received.windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads a whole request with a body of a known length. Returns its head and its body.
    pub(crate) async fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head().await?;
        let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
        while self.received.len() < length {
            assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0);
        }
        let body = self.received.drain(..length).collect();
        Some((head, body))
    }

    /// Reads until the bytes after the head have this text.
    pub(crate) async fn until(&mut self, text: &str) {
        soon(text, async {
            while !String::from_utf8_lossy(&self.received).contains(text) {
                assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0);
            }
        })
        .await;
    }

    /// Reads and drops some bytes of a body. Returns their number.
    pub(crate) async fn some(&mut self) -> usize {
        if self.received.is_empty() {
            self.received.reserve(64 * 1024);
            assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0);
        }
        let count = self.received.len();
        self.received.clear();
        count
    }

    /// Reads everything until the service closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        // A reset is an end, too.
        let _ = self.stream.read_to_end(&mut self.received).await;
        std::mem::take(&mut self.received)
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The service may have closed.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Writes an answer with a JSON body.
    pub(crate) async fn json(&mut self, status: &str, body: &str) {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Writes the head of a stream of events.
    pub(crate) async fn events(&mut self) {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
             transfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    /// Writes an event as a chunk.
    pub(crate) async fn event(&mut self, data: &str) {
        let event = format!("event: x\ndata: {data}\n\n");
        self.write(format!("{:x}\r\n{event}\r\n", event.len()))
            .await;
    }

    /// Writes the end of a stream of events.
    pub(crate) async fn end(&mut self) {
        self.write("0\r\n\r\n").await;
    }
}

/// Returns a header of a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}
