//! A receiver of webhooks: a server with TLS on a loopback address.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::HOST;

/// A receiver with TLS that answers every request with the same bytes.
pub(super) struct Receiver {
    pub(super) port: u16,
    /// The TLS settings of a sender that trusts it.
    pub(super) tls: Arc<ClientConfig>,
    connections: Arc<AtomicUsize>,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    /// The bytes of the answers that were written.
    pub(super) written: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver for this host name. An empty answer means none: the connection stays open.
    pub(super) async fn start(name: &str, answer: &str) -> Self {
        let (server, tls) = certificates(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests, written) =
            <(Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>)>::default();
        let (count, log, sent) = (
            Arc::clone(&connections),
            Arc::clone(&requests),
            Arc::clone(&written),
        );
        let answer = answer.to_owned();
        let task = tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(server);
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                let (log, sent) = (Arc::clone(&log), Arc::clone(&sent));
                open.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let request = read_request(&mut stream).await;
                    log.lock().unwrap().push(request);
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    for chunk in answer.as_bytes().chunks(16 * 1024) {
                        if stream.write_all(chunk).await.is_err() {
                            return;
                        }
                        sent.fetch_add(chunk.len(), Ordering::SeqCst);
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self {
            port,
            tls,
            connections,
            requests,
            written,
            task,
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self) -> String {
        format!("https://{HOST}:{}/a/path?token=SECRET", self.port)
    }

    /// The list of an operator that allows the receiver at 127.0.0.1.
    pub(super) fn hosts(&self) -> String {
        format!("{HOST}:{port},127.0.0.1:{port}", port = self.port)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header_of(head, "content-length").parse().unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return text,
        }
    }
}

/// Returns the value of a header in the head of a request; empty if it is missing.
pub(super) fn header_of<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

/// Returns the TLS settings of a server with this name, and those of a client that trusts it.
fn certificates(name: &str) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
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
    (Arc::new(server), Arc::new(client))
}
