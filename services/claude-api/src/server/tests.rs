use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::service::testing::open_with;

const TIMEOUTS: Timeouts = Timeouts {
    head: Duration::from_secs(10),
    keep_alive: Duration::from_secs(10),
};
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const BRIDGE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends a request and reads until the service closes the connection.
async fn ask(stream: &mut TcpStream, head: &str, body: &[u8]) -> String {
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Returns the answer to a request with this body on a connection that is beyond the limit of its
/// peer, and the metrics of the service. The peer counts as one with the address `peer`.
async fn answer_beyond_limit(peer: Ipv4Addr, is_proxy_port: bool, body: &[u8]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--bridge-hosts=198.51.100.7", "--connections-per-peer=7"];
    let service = open_with(dir.path(), &flags);
    let known = KnownPeers::new(&service.engine.settings.args.network).unwrap();
    let (clients, address) = bound().await;
    let listeners = Listeners {
        clients,
        proxies: None,
        credentials: None,
    };
    let mut connections = Connections::new(listeners, 8, 0);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let accepted = connections.accept().await;
    assert!(accepted.is_excess);
    let peer = ConnectionPeer::new(&service, &Arc::new(known), peer.into(), is_proxy_port);
    let router = http::router(Arc::clone(&service));
    let stop = CancellationToken::new();
    let served = serve_or_refuse(
        Arc::clone(&service),
        accepted,
        peer,
        TIMEOUTS,
        router,
        stop.clone(),
    );
    let served = tokio::spawn(served);
    let head = format!(
        "PUT /v1/limits HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let answer = ask(&mut stream, &head, body).await;
    served.await.unwrap();
    (answer, service.metrics_page(protocol::Exposition::Text))
}

#[tokio::test]
async fn a_connection_beyond_the_limit_of_its_peer_gets_429_and_is_closed() {
    // More than the buffers of both sockets hold.
    let body = vec![b'x'; 8 << 20];
    let (answer, metrics) = answer_beyond_limit(STRANGER, false, &body).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    for part in [
        "retry-after: 1\r\n",
        "too-many-connections",
        "this address has 7 open",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let line = r#"claude_api_requests_refused_total{reason="too_many_connections"} 1"#;
    assert!(metrics.lines().any(|other| other == line), "{metrics}");
}

#[tokio::test]
async fn an_exempt_peer_is_served_beyond_the_limit() {
    for (peer, is_proxy_port) in [
        (Ipv4Addr::LOCALHOST, false),
        (BRIDGE, false),
        (STRANGER, true),
    ] {
        let (answer, metrics) = answer_beyond_limit(peer, is_proxy_port, b"").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{peer}: {answer}");
        let line = r#"claude_api_requests_refused_total{reason="too_many_connections"} 0"#;
        assert!(metrics.lines().any(|other| other == line), "{metrics}");
    }
}

#[tokio::test]
async fn a_silent_connection_beyond_the_limit_is_closed_within_seconds() {
    let (clients, address) = bound().await;
    let listeners = Listeners {
        clients,
        proxies: None,
        credentials: None,
    };
    let mut connections = Connections::new(listeners, 8, 0);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let Accepted { connection, .. } = connections.accept().await;
    tokio::spawn(excess::refuse(connection, 7, READ_BUFFER_BYTES));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(8), read).await;
    assert_eq!(read.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn connections_of_a_peer_are_counted_until_they_are_closed() {
    let (clients, address) = bound().await;
    let listeners = Listeners {
        clients,
        proxies: None,
        credentials: None,
    };
    let mut connections = Connections::new(listeners, 8, 2);
    let mut accept = async || {
        let _stream = TcpStream::connect(address).await.unwrap();
        connections.accept().await
    };
    let (first, second) = (accept().await, accept().await);
    assert!(!first.is_excess && !second.is_excess && accept().await.is_excess);
    assert_eq!(first.peer, IpAddr::from([127, 0, 0, 1]));
    drop(first);
    assert!(!accept().await.is_excess);
}

#[tokio::test]
async fn the_proxy_port_needs_and_believes_the_header_and_the_other_port_ignores_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = open_with(dir.path(), &[]);
    let ((clients, clients_at), (proxies, proxies_at)) = (bound().await, bound().await);
    let listeners = Listeners {
        clients,
        proxies: Some(proxies),
        credentials: None,
    };
    assert_eq!(
        listeners.addresses().unwrap(),
        (clients_at, Some(proxies_at))
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let served = run(service, listeners, async move {
        let _ = stopped.await;
    });
    let served = tokio::spawn(served);
    for (address, header, expected) in [
        (clients_at, "", 200),
        (clients_at, "X-Forwarded-For: nonsense\r\n", 200),
        (proxies_at, "", 400),
        (proxies_at, "X-Forwarded-For: nonsense\r\n", 400),
        (proxies_at, "X-Forwarded-For: 203.0.113.1\r\n", 200),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /v1/limits HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n"
        );
        let answer = ask(&mut stream, &head, b"").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{header}: {answer}"
        );
    }
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}
