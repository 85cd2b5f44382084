//! Tests of the limits of connections and frames, and of the client that a proxy names.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::time::{Duration, Instant};

use common::{Bridge, Fake, SOON, with_headers};
use protocol::Role;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Reads until the bridge closes the connection, and returns how long that took.
async fn until_closed(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection stays open");
    start.elapsed()
}

#[tokio::test]
async fn an_unfinished_head_and_an_idle_connection_have_their_own_time_limits() {
    let fake = Fake::start().await;
    let args = ["--head-ms", "200", "--keep-alive-ms", "1500"];
    let bridge = Bridge::start(fake.addr, &args).await;
    let mut head = TcpStream::connect(bridge.addr).await.unwrap();
    head.write_all(b"GET /health/live HTTP/1.1\r\nHost: lo")
        .await
        .unwrap();
    let mut silent = TcpStream::connect(bridge.addr).await.unwrap();
    let mut idle = TcpStream::connect(bridge.addr).await.unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    for stream in [&mut head, &mut silent] {
        assert!(until_closed(stream).await < Duration::from_millis(1400));
    }
    assert!(until_closed(&mut idle).await > Duration::from_millis(700));
    assert_eq!(bridge.refused("head_ms", &[]).await, 2);
    assert_eq!(bridge.refused("keep_alive_ms", &[]).await, 1);
}

#[tokio::test]
async fn the_oldest_connection_without_a_session_makes_room_for_a_new_one() {
    let fake = Fake::start().await;
    let args = ["--sessions", "3", "--connections", "6"];
    let bridge = Bridge::start(fake.addr, &args).await;
    let mut session = bridge.connect().await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(TcpStream::connect(bridge.addr).await.unwrap());
    }
    let mut second = bridge.connect().await;
    until_closed(&mut open[0]).await;
    for client in [&mut session, &mut second] {
        assert!(client.call("ping", json!({})).await.is_ok());
    }
    assert!(bridge.refused("connections", &[]).await >= 1);
}

#[tokio::test]
async fn a_session_with_too_many_frames_is_read_later_and_others_are_not() {
    let fake = Fake::start().await;
    let args = ["--frames-per-second", "50", "--frames-burst", "10"];
    let bridge = Bridge::start(fake.addr, &args).await;
    let (mut greedy, mut other) = (bridge.connect().await, bridge.connect().await);
    let start = Instant::now();
    let mut last = 0;
    for _ in 0..60 {
        last = greedy.request("ping", json!({})).await;
    }
    assert!(other.call("ping", json!({})).await.is_ok());
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "the other one waited"
    );
    assert!(
        greedy.answer(last).await.is_ok(),
        "every request is answered"
    );
    assert!(
        start.elapsed() >= Duration::from_millis(950),
        "50 frames take a second"
    );
    assert!(bridge.refused("frames_per_second", &[]).await >= 1);
}

#[tokio::test]
async fn wrong_tokens_of_a_client_behind_a_proxy_are_limited_and_right_ones_are_not() {
    let fake = Fake::start().await;
    fake.add_token("a", "team-a", Role::Admin);
    let bridge = Bridge::start(fake.addr, &["--trusted-proxies", "127.0.0.1"]).await;
    let get = async |client: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("x-forwarded-for", client),
            ("authorization", bearer.as_str()),
        ];
        bridge.request("GET", "/metrics", &headers, "").await
    };
    let known = async { while get("203.0.113.1", "wrong").await.status != 401 {} };
    tokio::time::timeout(SOON, known).await.unwrap();
    for n in 0..20 {
        let answer = get("203.0.113.9", &format!("wrong{n}")).await;
        assert_eq!(answer.status, 401, "{n}");
    }
    let answer = get("203.0.113.9", "wrong").await;
    assert_eq!(
        (answer.status, &answer.body["type"]),
        (429, &json!("too-many-attempts"))
    );
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(get("203.0.113.9", "a").await.status, 200, "a right token");
    assert_eq!(
        get("198.51.100.1, 203.0.113.10", "wrong").await.status,
        401,
        "another client"
    );
    // The header of the client itself is not believed: only the rightmost address counts.
    assert_eq!(get("203.0.113.10, 203.0.113.9", "wrong").await.status, 429);
}

#[tokio::test]
async fn a_trusted_proxy_must_name_its_client_and_others_are_not_believed() {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, &["--trusted-proxies", "127.0.0.1"]).await;
    for forwarded in [None, Some(""), Some("unknown"), Some("127.0.0.1")] {
        let headers: Vec<_> = forwarded
            .map(|f| ("x-forwarded-for", f))
            .into_iter()
            .collect();
        let answer = bridge.request("GET", "/metrics", &headers, "").await;
        let kind = &answer.body["type"];
        assert_eq!(
            (answer.status, kind),
            (400, &json!("invalid-forwarded-for")),
            "{forwarded:?}"
        );
    }
    assert_eq!(bridge.get("/health/live").await.0, 200);
    let plain = Bridge::start(fake.addr, &[]).await;
    let headers = [("x-forwarded-for", "nonsense")];
    assert_eq!(
        plain.request("GET", "/metrics", &headers, "").await.status,
        200
    );
}

#[tokio::test]
async fn the_box_behind_a_proxy_is_still_the_box() {
    let listener = TcpListener::bind(("127.0.0.3", 0)).await.unwrap();
    let fake = Fake::at(listener).await;
    fake.change(|w| w.boxed = true);
    let bridge = Bridge::start(fake.addr, &["--trusted-proxies", "127.0.0.1,127.0.0.3"]).await;
    for (forwarded, expected) in [
        ("127.0.0.3", 400),
        ("203.0.113.9", 200),
        ("203.0.113.9, 127.0.0.3", 401),
    ] {
        let headers = [("x-forwarded-for", forwarded)];
        let answer = bridge.request("GET", "/", &headers, "").await;
        assert_eq!(answer.status, expected, "{forwarded}");
    }
    let bridge = Bridge::start(fake.addr, &["--trusted-proxies", "127.0.0.1"]).await;
    let headers = [("x-forwarded-for", "127.0.0.3")];
    let answer = bridge.request("GET", "/", &headers, "").await;
    assert_eq!(
        (answer.status, &answer.body["type"]),
        (401, &json!("from-the-box"))
    );
    let options = with_headers(&headers);
    assert!(
        cc_tests::ws::Client::try_connect(bridge.addr, options)
            .await
            .is_err()
    );
}
