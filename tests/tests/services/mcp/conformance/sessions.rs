//! Sessions, HTTP methods, and the names of hosts and origins.

use std::collections::HashSet;

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::raw_client::{LEGACY, MODERN, RawClient, Reply, with};

#[tokio::test]
async fn mcp_a_session_ends_with_delete_and_is_404_from_then_on() {
    let stack = Stack::start().await;
    for version in LEGACY {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("tools/list", json!({}));
        let headers = raw.headers(&message);
        assert_eq!(raw.send(&message.to_string(), &headers).await.status, 200);
        let deleted = raw.start(Method::DELETE, "", &headers).await;
        assert!(deleted.status().is_success(), "{version}: {deleted:?}");
        let reply = raw.send(&message.to_string(), &headers).await;
        assert_eq!(reply.status, 404, "{version}: {}", reply.body);
        let get = raw.start(Method::GET, "", &headers).await;
        assert_eq!(get.status(), 404, "{version}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_request_without_its_session_is_400_and_an_unknown_session_404() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, LEGACY[3]).await;
    let message = raw.message("tools/list", json!({}));
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    for (message, session, status) in [
        (&message, None, 400),
        (&notification, None, 400),
        (&message, Some("x"), 404),
        (&notification, Some("x"), 404),
    ] {
        let headers = with(raw.headers(message), "mcp-session-id", session);
        let reply = raw.send(&message.to_string(), &headers).await;
        assert_eq!(
            reply.status, status,
            "{message} {session:?}: {}",
            reply.body
        );
    }
    for method in [Method::GET, Method::DELETE] {
        let headers = with(raw.headers(&message), "mcp-session-id", None);
        let reply = raw.start(method.clone(), "", &headers).await;
        assert_eq!(reply.status(), 400, "{method}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_each_initialize_begins_a_session_of_its_own() {
    let stack = Stack::start().await;
    let mut sessions = HashSet::new();
    for _ in 0..3 {
        sessions.insert(RawClient::open(&stack, LEGACY[3]).await.session);
    }
    assert_eq!(sessions.len(), 3);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_without_sessions_a_session_id_is_ignored_and_get_and_delete_are_405() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    let message = raw.message("tools/list", json!({}));
    let headers = with(raw.headers(&message), "mcp-session-id", Some("x"));
    let headers = with(headers, "last-event-id", Some("0"));
    let reply = raw.send(&message.to_string(), &headers).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(!reply.headers.contains_key("mcp-session-id"));
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let reply = raw.start(method.clone(), "", &headers).await;
        assert_eq!(reply.status(), 405, "{method}");
        assert!(reply.headers().contains_key("allow"), "{method}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_get_opens_a_stream_that_ends_with_the_session() {
    let stack = Stack::start().await;
    for version in LEGACY {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("ping", json!({}));
        let headers = raw.headers(&message);
        let refused = with(headers.clone(), "accept", Some("application/json"));
        let refused = raw.start(Method::GET, "", &refused).await;
        assert_eq!(refused.status(), 406, "{version}");
        let stream = raw.start(Method::GET, "", &headers).await;
        assert_eq!(
            (stream.status().as_u16(), &stream.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        // An answer goes to the stream of its own request.
        assert_eq!(raw.ask("ping", json!({})).await.result(), &json!({}));
        raw.start(Method::DELETE, "", &headers).await;
        let reply = Reply::read(stream).await.expect("an orderly end");
        assert_eq!(reply.messages, Vec::<Value>::new(), "{version}");
    }
    stack.assert_quiet();
}

/// Foreign names get 403 on every path (`host_and_origin.rs`); hosts and origins of this machine
/// pass.
#[tokio::test]
async fn mcp_local_hosts_and_origins_pass() {
    let options = StackOptions::default().bridge("--allowed-origins=https://app.example");
    let stack = Stack::with(options).await;
    let port = stack.bridge.addr().port();
    for version in [LEGACY[3], MODERN] {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("tools/list", json!({}));
        for (host, origin) in [
            (
                format!("127.0.0.1:{port}"),
                format!("http://127.0.0.1:{port}"),
            ),
            (
                format!("localhost:{port}"),
                format!("http://localhost:{port}"),
            ),
            (format!("[::1]:{port}"), format!("http://[::1]:{port}")),
            (format!("bridge:{port}"), format!("http://bridge:{port}")),
            (
                format!("127.0.0.1:{port}"),
                "https://app.example".to_owned(),
            ),
        ] {
            let headers = with(raw.headers(&message), "host", Some(&host));
            let headers = with(headers, "origin", Some(&origin));
            let reply = raw.send(&message.to_string(), &headers).await;
            assert_eq!(
                reply.status, 200,
                "{version} {host} {origin}: {}",
                reply.body
            );
        }
        let foreign = with(raw.headers(&message), "origin", Some("http://evil.example"));
        assert_eq!(raw.send(&message.to_string(), &foreign).await.status, 403);
    }
    stack.assert_quiet();
}
