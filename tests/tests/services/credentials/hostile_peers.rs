//! Peers on the control port that are not `credentials`, or do not speak as it does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cc_tests::credentials::{
    CREDENTIALS_IP, FakeCredentials, connect_from, present, with_credentials,
};
use cc_tests::harness::{Service, StackOptions, stack::api_options};
use grants::{CredentialKind, LINE_BYTES, Order, Report, Timing, VERSION, to_line};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::stack;
use crate::startup::{health, reason};
use crate::support::{PATIENCE, accept, ended, id};

/// An address that is not that of `credentials`.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn hello(version: u32) -> String {
    to_line(&Report::Hello {
        version,
        credential: present(CredentialKind::ApiKey),
        upstream: "https://api.example".to_owned(),
    })
}

/// Reads until claude-api closes the connection; returns the bytes.
async fn read_to_end(stream: &mut TcpStream, limit: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let read = async {
        // A reset is an end, too.
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..count]);
        }
    };
    let ended = tokio::time::timeout(limit, read).await;
    ended.unwrap_or_else(|_| panic!("the connection stays open"));
    bytes
}

#[tokio::test]
async fn a_peer_from_another_address_gets_no_byte() {
    let stack = stack().await;
    let port = stack.api.credentials_addr();
    let mut stranger = connect_from(OTHER, port).await;
    assert_eq!(read_to_end(&mut stranger, PATIENCE).await, b"");
    let page = health(&stack.http(), "/health/ready", 503).await;
    let message = reason(&page, "credentials-away")["message"].to_string();
    assert!(message.contains("127.0.0.1 was refused"), "{message}");
    // The real one is not disturbed by further strangers.
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    let mut stranger = connect_from(OTHER, port).await;
    assert_eq!(read_to_end(&mut stranger, PATIENCE).await, b"");
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say x", json!({})).await;
    fake.grant().await;
    fake.revocation(&id).await;
    assert_eq!(ended(&http, &id).await["state"], "completed");
    stack.assert_quiet();
}

#[tokio::test]
async fn in_a_box_no_own_address_may_connect_even_if_the_url_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = with_credentials(StackOptions::default()).api("--boxed");
    let service = Service::start(api_options(folder.path(), &options)).await;
    for from in [CREDENTIALS_IP, OTHER, IpAddr::from([127, 7, 7, 7])] {
        let mut stranger = connect_from(from, service.credentials_addr()).await;
        assert_eq!(read_to_end(&mut stranger, PATIENCE).await, b"", "{from}");
    }
    service.assert_quiet();
}

#[tokio::test]
async fn a_peer_that_does_not_speak_the_protocol_is_dropped() {
    let stack = stack().await;
    let port = stack.api.credentials_addr();
    let long = vec![b'x'; 2 * LINE_BYTES];
    let beat = to_line(&Report::Beat);
    for (what, bytes) in [
        ("garbage", &b"GET / HTTP/1.1\r\n\r\n"[..]),
        ("no text", b"\xff\xfe\n"),
        ("a long line", &long),
        ("an empty line", b"\n"),
        ("no hello", beat.as_bytes()),
    ] {
        let stream = connect_from(CREDENTIALS_IP, port).await;
        let mut peer = FakeCredentials::on(stream);
        // The peer may be dropped before all is sent.
        let _ = peer.send(bytes).await;
        let order = peer.order().await;
        let is_hello = order.is_none() || order == Some(Order::Hello { version: VERSION });
        assert!(is_hello, "{what}: {order:?}");
        if order.is_some() {
            assert_eq!(peer.order().await, None, "{what}");
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn another_version_is_refused_with_an_error_in_the_log_and_the_good_one_stays() {
    let stack = stack().await;
    let other = async || {
        let stream = connect_from(CREDENTIALS_IP, stack.api.credentials_addr()).await;
        let mut peer = FakeCredentials::on(stream);
        peer.send(hello(VERSION + 1).as_bytes())
            .await
            .expect("sent");
        peer.order().await;
        assert_eq!(peer.order().await, None);
    };
    other().await;
    let page = health(&stack.http(), "/health/ready", 503).await;
    let message = reason(&page, "credentials-away")["message"].to_string();
    assert!(message.contains("speaks version 2"), "{message}");
    assert_eq!(stack.api.complaints().len(), 1, "{}", stack.api.log());
    let kind = present(CredentialKind::ApiKey);
    let mut fake = FakeCredentials::connect(&stack.api, kind).await;
    other().await;
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say x", json!({})).await;
    assert_eq!(fake.grant().await.execution_id, id);
    health(&http, "/health/ready", 200).await;
}

#[tokio::test]
async fn mistakes_after_the_hello_end_the_connection() {
    let stack = stack().await;
    let long = vec![b'x'; 2 * LINE_BYTES];
    for bytes in [b"{}\n", &long[..], hello(VERSION).as_bytes()] {
        let kind = present(CredentialKind::ApiKey);
        let mut fake = FakeCredentials::connect(&stack.api, kind).await;
        let _ = fake.send(bytes).await;
        assert_eq!(fake.order().await, None);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_peer_without_a_whole_line_for_15_s_is_dropped_and_others_connect_meanwhile() {
    let stack = stack().await;
    let port = stack.api.credentials_addr();
    let begun = Instant::now();
    let silent = connect_from(CREDENTIALS_IP, port).await;
    let mut slow = FakeCredentials::on(connect_from(CREDENTIALS_IP, port).await);
    let kind = present(CredentialKind::ApiKey);
    let mut connected = FakeCredentials::connect(&stack.api, kind).await;
    // Bytes without a newline are no sign of life.
    let drip = async {
        while slow.send(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let silence = Timing::default().silence;
    let (mut silent, limit) = (silent, silence + PATIENCE);
    let (bytes, dripped, order) = tokio::join!(
        read_to_end(&mut silent, limit),
        tokio::time::timeout(limit, drip),
        connected.order(),
    );
    assert!(dripped.is_ok(), "the slow peer stays");
    assert_eq!(order, None, "the peer without beats stays");
    let greeting = to_line(&Order::Hello { version: VERSION });
    assert_eq!(bytes, greeting.as_bytes());
    assert!(begun.elapsed() >= silence, "{:?}", begun.elapsed());
    stack.assert_quiet();
}

/// A command of the model may connect in a loop, to be first after a restart.
#[tokio::test]
async fn a_stranger_is_refused_at_every_moment_of_a_restart() {
    let mut stack = stack().await;
    let port: SocketAddr = stack.api.credentials_addr();
    let stop = Arc::new(AtomicBool::new(false));
    let tries = Arc::new(AtomicUsize::new(0));
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let (stop, tries) = (Arc::clone(&stop), Arc::clone(&tries));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
                    socket.bind((OTHER, 0).into()).expect("an own address");
                    let Ok(mut stream) = socket.connect(port).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    tries.fetch_add(1, Ordering::Relaxed);
                    let bytes = read_to_end(&mut stream, PATIENCE).await;
                    assert_eq!(bytes, b"");
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let kind = present(CredentialKind::ApiKey);
        let mut fake = FakeCredentials::connect(&stack.api, kind).await;
        let (http, id) = (stack.http(), id());
        accept(&http, &id, "@say x", json!({})).await;
        assert_eq!(fake.grant().await.execution_id, id);
        fake.revocation(&id).await;
        assert_eq!(ended(&http, &id).await["state"], "completed");
        stack.crash_api().await;
    }
    stop.store(true, Ordering::Relaxed);
    for stranger in loops {
        stranger.await.expect("no stranger got a byte");
    }
    assert!(tries.load(Ordering::Relaxed) > 10, "they hardly tried");
    stack.assert_quiet();
}
