//! Request bodies: refused content, and the memory that they use.

use cc_tests::harness::{Stack, StackOptions};
use futures::future::join_all;
use serde_json::json;

use super::partial_post::{CHUNKED, PartialPost, chunk};
use super::raw_client::{LEGACY, MODERN, RawClient, Reply, with};

const MIB: usize = 1024 * 1024;

/// Twice the number of large bodies that the bridge once received at the same time.
const STALLED: usize = 32;

#[tokio::test]
async fn mcp_many_small_bodies_of_unknown_length_are_received_at_the_same_time() {
    let stack = Stack::start().await;
    let addr = stack.bridge.addr();
    let ping = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let wire = PartialPost::begin(addr, CHUNKED).await;
        let mut wire = wire.unwrap_or_else(|answer| panic!("body {number}: {answer}"));
        wire.send(&chunk(&ping[..10])).await;
        stalled.push(wire);
    }
    for mut wire in stalled {
        wire.send(&chunk(&ping[10..])).await;
        wire.send("0\r\n\r\n").await;
        let answer = wire.answer().await;
        // A notification without a session.
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_repeated_member_is_refused_for_every_spelling_of_the_content_type() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut raw = RawClient::open(&stack, version).await;
        let params = json!({"name": "list", "arguments": {"limit": 1}});
        let message = raw.message("tools/call", params);
        let headers = raw.headers(&message);
        let good = message.to_string();
        let repeated = good.replacen(r#""limit":1"#, r#""limit":1,"limit":2"#, 1);
        assert_ne!(good, repeated);
        for kind in [
            "application/json",
            "Application/JSON",
            "APPLICATION/json;charset=utf-8",
            "application/Json ; charset=UTF-16",
        ] {
            let headers = with(headers.clone(), "content-type", Some(kind));
            let reply = raw.send(&good, &headers).await;
            assert_eq!(reply.status, 200, "{version} {kind}: {}", reply.body);
            let reply = raw.send(&repeated, &headers).await;
            assert_eq!(reply.status, 400, "{version} {kind}: {}", reply.body);
            assert!(reply.body.contains("given twice"), "{}", reply.body);
        }
    }
    stack.assert_quiet();
}

/// Sends `calls` calls with a prompt of `bytes` bytes at the same time; returns the replies.
async fn large_calls(stack: &Stack, calls: usize, bytes: usize) -> Vec<Reply> {
    let raws = join_all((0..calls).map(|_| RawClient::open(stack, MODERN))).await;
    let prompt = format!("@silence 600\n{}", "x".repeat(bytes));
    let calls = raws.into_iter().map(async |mut raw| {
        let arguments = json!({"prompt": prompt, "workspace": "../up"});
        raw.ask(
            "tools/call",
            json!({"name": "start", "arguments": arguments}),
        )
        .await
    });
    join_all(calls).await
}

#[tokio::test]
async fn mcp_the_memory_for_large_calls_is_bounded_by_a_setting() {
    let inbound = 32 * MIB;
    let options = StackOptions::default().bridge(format!("--inbound-bytes={inbound}"));
    let stack = Stack::with(options).await;
    let before = stack.bridge.peak_bytes();
    let replies = large_calls(&stack, 64, 2 * MIB).await;
    let mut answered = 0;
    for reply in replies {
        if reply.status == 503 {
            assert!(
                reply.body.contains(r#""type":"inbound-full""#),
                "{}",
                reply.body
            );
            assert!(
                reply.body.contains("BRIDGE_INBOUND_BYTES"),
                "{}",
                reply.body
            );
        } else {
            assert_eq!(reply.result()["isError"], true, "{}", reply.body);
            answered += 1;
        }
    }
    let grown = stack.bridge.peak_bytes() - before;
    assert!(answered > 0, "no call had room");
    // A quarter of the setting, in the copies that a body has on its way; 64 bodies have 128 MiB.
    assert!(grown < 3 * inbound as u64, "{} MiB", grown / MIB as u64);
    stack.assert_quiet();
}
