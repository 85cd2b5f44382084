//! Messages: ids, notifications, methods that the server does not have, and texts that are no
//! message.

use cc_tests::harness::Stack;
use serde_json::{Value, json};

use super::super::python_sdk::assert_valid;
use super::super::raw_client::{LEGACY, MODERN, RawClient, VERSIONS, with};

/// Returns the methods of features that the server does not declare, with valid parameters.
fn undeclared() -> Vec<(&'static str, Value)> {
    vec![
        ("prompts/list", json!({})),
        ("prompts/get", json!({"name": "x"})),
        (
            "completion/complete",
            json!({
                "ref": {"type": "ref/prompt", "name": "x"},
                "argument": {"name": "a", "value": "b"},
            }),
        ),
        ("logging/setLevel", json!({"level": "info"})),
        (
            "resources/subscribe",
            json!({"uri": "execution://x/status"}),
        ),
        (
            "resources/unsubscribe",
            json!({"uri": "execution://x/status"}),
        ),
        ("subscriptions/listen", json!({"notifications": {}})),
        ("tasks/list", json!({})),
        ("tasks/result", json!({"taskId": "x"})),
        ("unknown/method", json!({})),
        ("unknown", json!({})),
    ]
}

#[tokio::test]
async fn mcp_an_undeclared_method_is_method_not_found() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let status = if version == MODERN { 404 } else { 200 };
        for (method, params) in undeclared() {
            let reply = raw.ask(method, params).await;
            assert_eq!(
                reply.error(),
                (status, -32601),
                "{version} {method}: {}",
                reply.body
            );
        }
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_ping_is_answered_with_an_empty_result_where_it_exists() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in LEGACY {
        let mut raw = RawClient::open(&stack, version).await;
        assert_eq!(
            raw.ask("ping", json!({})).await.result(),
            &json!({}),
            "{version}"
        );
        seen.extend(raw.seen());
    }
    let mut raw = RawClient::open(&stack, MODERN).await;
    assert_eq!(raw.ask("ping", json!({})).await.error(), (404, -32601));
    seen.extend(raw.seen());
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_response_has_the_id_of_its_request() {
    let stack = Stack::start().await;
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        for id in [
            json!(0),
            json!(4_294_967_296_i64),
            json!("a \"name\""),
            json!(""),
        ] {
            let mut message = raw.message("tools/list", json!({}));
            message["id"] = id.clone();
            let reply = raw.send(&message.to_string(), &raw.headers(&message)).await;
            assert_eq!(reply.response()["id"], id, "{version}");
            assert!(reply.result()["tools"].is_array());
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_notification_or_a_response_is_202_without_a_body() {
    let stack = Stack::start().await;
    for version in VERSIONS {
        let raw = RawClient::open(&stack, version).await;
        for message in [
            json!({
                        "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": 99},
            }),
            json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
            json!({"jsonrpc": "2.0", "method": "notifications/unknown"}),
            json!({"jsonrpc": "2.0", "id": 99, "result": {}}),
        ] {
            // A client of the newest version sends no responses.
            if version == MODERN && message.get("result").is_some() {
                continue;
            }
            let reply = raw.send(&message.to_string(), &raw.headers(&message)).await;
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (202, ""),
                "{version} {message}"
            );
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_text_that_is_no_message_is_refused_with_an_error() {
    let stack = Stack::start().await;
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let good = raw.message("tools/list", json!({}));
        let headers = raw.headers(&good);
        let changed = |name: &str, value: Value| {
            let mut message = good.clone();
            message[name] = value;
            message.to_string()
        };
        for bad in [
            "".to_owned(),
            "{".to_owned(),
            "\u{feff}{}".to_owned(),
            "7".to_owned(),
            "null".to_owned(),
            "{}".to_owned(),
            changed("jsonrpc", json!("1.0")),
            changed("jsonrpc", Value::Null),
            changed("method", json!(7)),
            changed("params", json!(7)),
            changed("id", json!({})),
            changed("id", json!(1.5)),
        ] {
            let reply = raw.send(&bad, &headers).await;
            assert!(
                (400..500).contains(&reply.status),
                "{version} {bad}: {}",
                reply.status
            );
            assert!(!reply.body.is_empty(), "{version} {bad}");
        }
        // The client's next request works.
        assert!(raw.ask("tools/list", json!({})).await.result()["tools"].is_array());
    }
    stack.assert_quiet();
}

/// Version 2025-03-26 requires servers to accept batches; rmcp 3.11 refuses them in every version.
#[tokio::test]
async fn mcp_a_batch_is_refused_with_an_error() {
    let stack = Stack::start().await;
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let (first, second) = (
            raw.message("tools/list", json!({})),
            raw.message("tools/list", json!({})),
        );
        let headers = raw.headers(&first);
        for batch in [json!([first, second]), json!([])] {
            let reply = raw.send(&batch.to_string(), &headers).await;
            assert!(
                (400..500).contains(&reply.status),
                "{version}: {}",
                reply.body
            );
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_the_media_types_of_request_and_answer_are_checked() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("tools/list", json!({}));
        let headers = raw.headers(&message);
        for (name, value, status) in [
            ("accept", None, 406),
            ("accept", Some("application/json"), 406),
            ("accept", Some("text/event-stream"), 406),
            (
                "accept",
                Some("application/json, text/event-stream;q=0"),
                406,
            ),
            (
                "accept",
                Some("text/event-stream;q=0.5,application/json"),
                200,
            ),
            ("content-type", None, 415),
            ("content-type", Some("text/plain"), 415),
            ("content-type", Some("application/json; charset=utf-8"), 200),
        ] {
            let headers = with(headers.clone(), name, value);
            let reply = raw.send(&message.to_string(), &headers).await;
            assert_eq!(
                reply.status, status,
                "{version} {name} {value:?}: {}",
                reply.body
            );
        }
    }
    stack.assert_quiet();
}
