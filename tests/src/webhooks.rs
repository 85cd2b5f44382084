//! A receiver of webhooks: an HTTPS server on a loopback address that records its requests, and
//! whose port may be closed at first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::tls::Authority;

/// The longest part of an answer that is written at once, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// Makes the bytes of an answer.
type Answers = Box<dyn Fn() -> String + Send>;

/// A receiver, which may be closed. Dropping it closes its connections.
pub struct Receiver {
    /// The port at 127.0.0.1.
    pub port: u16,
    /// The authority of the receiver's certificate.
    pub authority: Authority,
    name: String,
    seen: Arc<Seen>,
    /// Keeps the port while nobody listens on it, so that no other program gets it. The kernel
    /// refuses connections to it meanwhile.
    closed: Option<(TcpSocket, Answers)>,
    task: Option<AbortOnDropHandle<()>>,
}

/// The facts that the connections record.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    // Held briefly to add or copy requests; no await happens inside.
    requests: Mutex<Vec<Request>>,
    written: AtomicUsize,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The first line: method, target and version.
    pub line: String,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Request {
    /// Returns the path and the query. Empty if the first line has none.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

impl Receiver {
    /// Starts a receiver whose certificate has this host name. `answer` returns the bytes of the
    /// answer, and is called when a connection is accepted. Without bytes the receiver does not
    /// answer, and the connection stays open.
    ///
    /// # Panics
    /// If no port is free, or the name is malformed.
    pub async fn start(name: &str, answer: impl Fn() -> String + Send + 'static) -> Self {
        let mut receiver = Self::closed(name, answer);
        receiver.open();
        receiver
    }

    /// Creates a receiver that refuses connections until [`Receiver::open`].
    ///
    /// # Panics
    /// If no port is free, or the name is malformed.
    pub fn closed(name: &str, answer: impl Fn() -> String + Send + 'static) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        Self {
            port: socket.local_addr().expect("an address").port(),
            authority: Authority::new(),
            name: name.to_owned(),
            seen: Arc::default(),
            closed: Some((socket, Box::new(answer))),
            task: None,
        }
    }

    /// Begins to accept connections. Has no effect on a receiver that is open.
    ///
    /// # Panics
    /// If the port cannot be opened.
    pub fn open(&mut self) {
        let Some((socket, answer)) = self.closed.take() else {
            return;
        };
        let listener = socket.listen(64).expect("a listener");
        let acceptor = TlsAcceptor::from(self.authority.server(&[&self.name], |_| {}));
        let log = Arc::clone(&self.seen);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                log.connections.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(acceptor.clone(), stream, answer(), Arc::clone(&log)));
            }
        });
        self.task = Some(AbortOnDropHandle::new(task));
    }

    /// Returns the list of an operator that allows the receiver: its name, and the two loopback
    /// addresses that the name may have.
    #[must_use]
    pub fn hosts(&self) -> String {
        let Self { name, port, .. } = self;
        format!("{name}:{port},127.0.0.1:{port},[::1]:{port}")
    }

    /// Returns the URL of a path of the receiver.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.name, self.port)
    }

    /// Returns the number of TCP connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Returns the complete requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let requests = self.seen.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of bytes of the answers that were written so far.
    #[must_use]
    pub fn written(&self) -> usize {
        self.seen.written.load(Ordering::SeqCst)
    }
}

/// Serves one request. A connection that breaks ends without a record.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, answer: String, seen: Arc<Seen>) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let Some(request) = read(&mut stream).await else {
        return;
    };
    let requests = seen.requests.lock();
    requests
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    if answer.is_empty() {
        std::future::pending::<()>().await;
    }
    for chunk in answer.as_bytes().chunks(CHUNK_BYTES) {
        if stream.write_all(chunk).await.is_err() {
            return;
        }
        seen.written.fetch_add(chunk.len(), Ordering::SeqCst);
    }
    // The client may have closed the connection.
    let _ = stream.shutdown().await;
}

/// Reads one request. `None` if the connection breaks before its end.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        line,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
