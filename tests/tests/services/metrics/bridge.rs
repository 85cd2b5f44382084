//! Sessions, messages, views and refusals of the bridge.

use cc_tests::harness::{Stack, StackOptions};
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::json;

use super::{assert_near, until};
use crate::support::{exists, id, send};

#[tokio::test]
async fn bridge_counts_agree_with_the_requests_of_its_clients() {
    let stack = Stack::with(StackOptions::default().one_bridge()).await;
    let bridge = stack.bridge.addr();
    let mut client = stack.client().await;
    let other = stack.client().await;
    until(bridge, "bridge_sessions", &[], 2.0).await;
    let ping = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    for id in 7001..7004 {
        client.send_text(&ping(id)).await;
    }
    let page = until(bridge, "bridge_messages_received_total", &[], 3.0).await;
    let bytes = (3 * ping(7001).len()) as f64;
    assert_near(
        page.sum("bridge_received_bytes_total", &[]),
        bytes,
        "bytes in",
    );
    // The greetings of both sessions, and three answers.
    let page = until(bridge, "bridge_messages_sent_total", &[], 5.0).await;
    assert!(page.sum("bridge_sent_bytes_total", &[]) > bytes);
    let mark = stack.path("tmp").join("running");
    let id = client
        .start(&format!("@say x\n@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    until(bridge, "bridge_viewers", &[], 1.0).await;
    client.control("CANCEL", Some(&id)).await.expect("accepted");
    client.wait_terminal(&id).await;
    let unknown = json!({"executionId": self::id()});
    client
        .call("status", unknown.clone())
        .await
        .expect_err("there is none");
    client
        .call("nothing", json!({}))
        .await
        .expect_err("no such method");
    client
        .call("execute", json!({}))
        .await
        .expect_err("no prompt");
    let http = Http::new(bridge);
    send(&http, Method::GET, "/nowhere", "").await;
    let foreign = http
        .request(Method::GET, "/metrics")
        .header("host", "evil.example");
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
    client.finish().await;
    other.finish().await;
    let page = until(bridge, "bridge_sessions", &[], 0.0).await;
    for (name, expected) in [
        ("bridge_sessions_opened_total", 2.0),
        ("bridge_executes_total", 1.0),
        ("bridge_executes_refused_total", 0.0),
        ("bridge_viewers", 0.0),
        ("bridge_gaps_sent_total", 0.0),
        ("bridge_inbound_bytes", 0.0),
        ("bridge_outbound_bytes", 0.0),
        ("bridge_requests_refused_total", 5.0),
    ] {
        assert_near(page.sum(name, &[]), expected, name);
    }
    for reason in [
        "not_found",
        "unknown_method",
        "invalid_params",
        "unknown_path",
        "foreign_host",
    ] {
        let count = page.sum("bridge_requests_refused_total", &[("reason", reason)]);
        assert_near(count, 1.0, reason);
    }
    assert!(page.sum("bridge_inbound_limit_bytes", &[]) > 1e6);
    assert!(page.sum("bridge_outbound_limit_bytes", &[]) > 1e6);
    stack.assert_quiet();
}
