//! The API over TLS, directly and through the operator's proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use cc_tests::tls::Authority;
use data_encoding::BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{ClaudeApi, Client, Exchange, GRANT, KEY, Service, soon};

/// An API with TLS for `localhost`, which answers every request with its head.
struct TlsApi {
    port: u16,
    /// The file with the authority's certificate.
    ca: PathBuf,
    _folder: tempfile::TempDir,
    _task: AbortOnDropHandle<()>,
}

impl TlsApi {
    async fn start() -> Self {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::from(authority.server(&["localhost"], |_| {}));
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, &authority.pem).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate breaks off.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut exchange = Exchange::new(Box::new(stream));
                    while let Some((head, _)) = exchange.request().await {
                        let body = serde_json::json!({ "head": head });
                        exchange.json("200 OK", &body.to_string()).await;
                    }
                });
            }
        });
        Self {
            port,
            ca,
            _folder: folder,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Asks this API through a service with these variables. Returns the answer.
    async fn ask(
        &self,
        host: &str,
        trusts: bool,
        variables: &[(&str, &str)],
    ) -> crate::support::Answer {
        let mut claude_api = ClaudeApi::start().await;
        let url = format!("https://{host}:{}", self.port);
        let ca = format!("--upstream-ca={}", self.ca.display());
        let arguments = if trusts { vec![&ca[..]] } else { vec![] };
        let service = Service::start(&claude_api, &url, &arguments, variables).await;
        claude_api.accept().await;
        claude_api.grant("e1", GRANT, None).await;
        claude_api.sync().await;
        let mut client = Client::connect(service.addr).await;
        client.post("/v1/messages", GRANT, "{}").await;
        client.answer().await
    }
}

#[tokio::test]
async fn an_api_with_a_trusted_certificate_gets_the_credential() {
    let api = TlsApi::start().await;
    let answer = api.ask("localhost", true, &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(KEY), "{answer:?}");
}

#[tokio::test]
async fn an_api_with_another_certificate_gets_nothing() {
    let api = TlsApi::start().await;
    // The certificate is for localhost, and for the authority of the file.
    for (host, trusts) in [("127.0.0.1", true), ("localhost", false)] {
        let answer = api.ask(host, trusts, &[]).await;
        assert_eq!(answer.status, 502, "{answer:?}");
        let error = answer.error();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("TLS with"), "{message}");
    }
}

/// A proxy that opens tunnels, and gives the heads that it gets.
async fn proxy(target: SocketAddr) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (send, heads) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            send.send(String::from_utf8(head).unwrap()).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut target = TcpStream::connect(target).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut target).await });
        }
    });
    (addr, heads)
}

#[tokio::test]
async fn the_proxy_gets_its_password_and_not_the_credential() {
    let api = TlsApi::start().await;
    let (proxy, mut heads) = proxy(([127, 0, 0, 1], api.port).into()).await;
    let url = format!("http://user:pass@{proxy}");
    let answer = api.ask("localhost", true, &[("HTTPS_PROXY", &url)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.body.contains(KEY) && !answer.body.contains("pass"),
        "{answer:?}"
    );
    let head = soon("the head", heads.recv()).await.unwrap();
    let authorization = format!("Proxy-Authorization: Basic {}", BASE64.encode(b"user:pass"));
    assert!(
        head.contains(&authorization) && !head.contains(KEY),
        "{head}"
    );
    assert!(
        head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", api.port)),
        "{head}"
    );
    let excepted = [("HTTPS_PROXY", &url[..]), ("NO_PROXY", "localhost")];
    assert_eq!(api.ask("localhost", true, &excepted).await.status, 200);
    assert!(heads.try_recv().is_err());
}
