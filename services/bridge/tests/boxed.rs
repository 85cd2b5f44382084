//! Tests of the rule for processes that the model runs: a peer with an address of a boxed
//! claude-api may not use the bridge. The fake claude-api listens on 127.0.0.3, and clients connect
//! from loopback addresses.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::net::{IpAddr, SocketAddr};

use cc_tests::ws::raw::UPGRADE;
use common::{Bridge, Fake, SOON};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// The address of the fake claude-api; no interface lists it.
const API: &str = "127.0.0.3";

async fn start(api: &str, boxed: bool) -> (Fake, Bridge) {
    let listener = TcpListener::bind((api, 0)).await.unwrap();
    let fake = Fake::at(listener).await;
    fake.change(|world| world.boxed = boxed);
    let bridge = Bridge::start(fake.addr, &[]).await;
    (fake, bridge)
}

/// Sends one request from this address, and returns the head and body of the answer; for an upgrade
/// only the head.
async fn request(bridge: &Bridge, from: &str, method: &str, path: &str, headers: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(from).unwrap();
    let mut stream = socket.connect(bridge.addr).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        loop {
            let length = stream.read_buf(&mut answer).await.unwrap();
            if length == 0 || answer.starts_with(b"HTTP/1.1 101") {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

const CLOSE: &str = "Connection: close\r\n";
const CALLS: [(&str, &str, &str); 9] = [
    ("GET", "/", CLOSE),
    ("GET", "/metrics", CLOSE),
    ("GET", "/nowhere", CLOSE),
    ("GET", "/healthy", CLOSE),
    ("GET", "/ws", UPGRADE),
    ("GET", "/ws/mcp", UPGRADE),
    ("POST", "/mcp", "Content-Length: 0\r\nConnection: close\r\n"),
    ("DELETE", "/mcp", CLOSE),
    (
        "POST",
        "/health/live",
        "Content-Length: 0\r\nConnection: close\r\n",
    ),
];

fn is_refusal(answer: &str) -> bool {
    let head = answer.to_ascii_lowercase();
    head.starts_with("http/1.1 401 ")
        && head.contains("\r\nwww-authenticate: bearer\r\n")
        && head.contains(r#""type":"from-the-box""#)
}

#[tokio::test]
async fn the_box_may_only_read_health_and_other_peers_are_served() {
    let (_fake, bridge) = start(API, true).await;
    for (method, path, headers) in CALLS {
        let answer = request(&bridge, API, method, path, headers).await;
        assert!(is_refusal(&answer), "{method} {path}: {answer}");
    }
    for path in ["/health/live", "/health/ready", "/health"] {
        for method in ["GET", "HEAD"] {
            let answer = request(&bridge, API, method, path, CLOSE).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 "),
                "{method} {path}: {answer}"
            );
        }
    }
    for from in ["127.0.0.1", "127.0.0.2", "127.0.0.4"] {
        let answer = request(&bridge, from, "GET", "/", CLOSE).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{from}: {answer}");
        let answer = request(&bridge, from, "GET", "/ws", UPGRADE).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{from}: {answer}");
    }
    let page = request(&bridge, "127.0.0.1", "GET", "/metrics", CLOSE).await;
    let line = r#"bridge_requests_refused_total{reason="from_the_box"} 9"#;
    assert!(page.lines().any(|other| other == line), "{page}");
}

#[tokio::test]
async fn the_rule_follows_the_limits_of_claude_api() {
    let (fake, bridge) = start(API, false).await;
    let answer = request(&bridge, API, "GET", "/ws", UPGRADE).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    fake.change(|world| world.boxed = true);
    let refused =
        async { while !is_refusal(&request(&bridge, API, "GET", "/ws", UPGRADE).await) {} };
    tokio::time::timeout(SOON, refused).await.unwrap();
    // While claude-api does not answer, its last limits apply.
    fake.change(|world| world.down = true);
    let answer = request(&bridge, API, "GET", "/ws", UPGRADE).await;
    assert!(is_refusal(&answer), "{answer}");
}

#[tokio::test]
async fn before_the_first_limits_only_addresses_of_claude_api_get_503() {
    let fake = Fake::at(TcpListener::bind((API, 0)).await.unwrap()).await;
    fake.change(|world| {
        world.boxed = true;
        world.down = true;
    });
    let bridge = Bridge::start(fake.addr, &[]).await;
    let answer = request(&bridge, API, "GET", "/ws", UPGRADE)
        .await
        .to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    let answer = request(&bridge, "127.0.0.2", "GET", "/ws", UPGRADE).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    fake.change(|world| world.down = false);
    let refused = async { while !is_refusal(&request(&bridge, API, "GET", "/", CLOSE).await) {} };
    tokio::time::timeout(SOON, refused).await.unwrap();
}

#[tokio::test]
async fn an_address_of_the_bridge_itself_is_never_refused() {
    let own = addresses::OwnAddresses::read().unwrap().now();
    let v4 = own.into_iter().filter(IpAddr::is_ipv4);
    for api in v4.map(|ip| ip.to_string()) {
        let (_fake, bridge) = start(&api, true).await;
        for (method, path, headers) in CALLS {
            let answer = request(&bridge, &api, method, path, headers).await;
            assert!(
                !answer.starts_with("HTTP/1.1 401 "),
                "{method} {path} from {api}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_bridge_that_claude_api_refuses_as_its_box_is_not_ready() {
    let (fake, bridge) = start(API, true).await;
    for (refuses, expected) in [(true, 503), (false, 200)] {
        fake.change(|world| world.refuses_bridge = refuses);
        let changed = async {
            loop {
                let (code, page) = bridge.get("/health/ready").await;
                if code == expected {
                    return page;
                }
            }
        };
        let page = tokio::time::timeout(SOON, changed).await.unwrap();
        let reason = &page["reasons"][0]["code"];
        assert_eq!(*reason == "from-the-box", refuses, "{page}");
    }
}
