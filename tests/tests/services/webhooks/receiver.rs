//! A receiver of webhooks: an HTTPS server on localhost that records its requests, and whose port may
//! be closed for a while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A receiver, which may be closed.
pub(super) struct Receiver {
    port: u16,
    /// Keeps the port while nobody listens on it, so that no other program gets it. The kernel
    /// refuses connections to it meanwhile.
    closed: Option<TcpSocket>,
    server: Arc<ServerConfig>,
    status: Arc<AtomicU16>,
    /// The TLS settings of a sender that trusts the receiver.
    pub(super) trusted: Arc<ClientConfig>,
    /// The certificate of the authority that such a sender trusts, as PEM.
    pub(super) authority: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: Option<JoinHandle<()>>,
}

/// A received request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Path and query.
    pub(super) target: String,
    /// The headers, with names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    /// The body.
    pub(super) body: String,
}

impl Receiver {
    /// Starts a receiver that answers every request with 204.
    pub(super) async fn start() -> Self {
        Self::answering(Arc::new(AtomicU16::new(204))).await
    }

    /// Starts a receiver that answers with this status, which may change.
    pub(super) async fn answering(status: Arc<AtomicU16>) -> Self {
        let mut receiver = Self::closed(status);
        receiver.open();
        receiver
    }

    /// Creates a receiver that refuses connections until [`Receiver::open`]. Then it answers with
    /// this status.
    pub(super) fn closed(status: Arc<AtomicU16>) -> Self {
        let (server, trusted, authority) = certificates();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            port: socket.local_addr().unwrap().port(),
            closed: Some(socket),
            server,
            status,
            trusted,
            authority,
            requests: Arc::default(),
            task: None,
        }
    }

    /// Begins to accept connections. Has no effect on a receiver that is open.
    pub(super) fn open(&mut self) {
        let Some(socket) = self.closed.take() else {
            return;
        };
        let listener = socket.listen(64).unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        let (status, log) = (Arc::clone(&self.status), Arc::clone(&self.requests));
        self.task = Some(tokio::spawn(serve(listener, acceptor, status, log)));
    }

    /// Returns the list of an operator that allows the receiver. `localhost` may have both
    /// addresses, although the receiver has one.
    pub(super) fn hosts(&self) -> String {
        let port = self.port;
        format!("localhost:{port},127.0.0.1:{port},[::1]:{port}")
    }

    /// Returns the URL of a path of the receiver.
    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Returns the requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Accepts connections, and answers the one request of each.
async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    status: Arc<AtomicU16>,
    log: Arc<Mutex<Vec<Request>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
        let status = status.load(Ordering::SeqCst);
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let Some(request) = read(&mut stream).await else {
                return;
            };
            log.lock().unwrap().push(request);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

/// Reads one request. `None` if the connection breaks before its end.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        bytes.push(stream.read_u8().await.ok()?);
        if bytes.ends_with(b"\r\n\r\n") {
            break String::from_utf8(bytes).ok()?;
        }
    };
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        target,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

/// Returns the TLS settings of a server at localhost, those of a client that trusts it, and the
/// certificate that the client trusts, as PEM.
fn certificates() -> (Arc<ServerConfig>, Arc<ClientConfig>, String) {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client), authority.pem())
}
