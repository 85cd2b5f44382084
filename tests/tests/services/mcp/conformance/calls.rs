//! Tools: their definitions, calls, progress, and calls at the same time.

use std::collections::HashSet;

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::python_sdk::assert_valid;
use super::super::raw_client::{MODERN, RawClient, Reply, VERSIONS};
use crate::support::id;

#[tokio::test]
async fn mcp_tools_are_listed_with_valid_schemas_in_one_order() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let reply = raw.ask("tools/list", json!({})).await;
        let tools = reply.result()["tools"].as_array().expect("a list").clone();
        let names: HashSet<_> = tools
            .iter()
            .map(|tool| tool["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names.len(), 8, "{names:?}");
        for tool in &tools {
            let name = tool["name"].as_str().expect("a name");
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            assert!(
                (1..=128).contains(&name.len()) && name.chars().all(allowed),
                "{name}"
            );
            assert!(
                tool["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 20),
                "{name}"
            );
            assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
        }
        let repeated = raw.ask("tools/list", json!({})).await;
        assert_eq!(repeated.result()["tools"], json!(tools), "{version}");
        if version == MODERN {
            assert_hints(reply.result());
        }
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

/// Asserts that a result says how long it may be cached, and for whom (SEP-2549).
#[track_caller]
pub(super) fn assert_hints(result: &Value) {
    assert!(result["ttlMs"].is_u64(), "{result}");
    assert!(
        ["public", "private"]
            .map(|scope| json!(scope))
            .contains(&result["cacheScope"]),
        "{result}"
    );
}

#[tokio::test]
async fn mcp_a_call_returns_text_and_a_failed_call_is_a_result_too() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let call = |prompt: &str| json!({"name": "execute", "arguments": {"prompt": prompt}});
        let good = raw.ask("tools/call", call("@say hello")).await;
        assert_eq!(
            good.result()["content"],
            json!([{"type": "text", "text": "hello"}])
        );
        assert_eq!(good.result()["isError"], false);
        let failed = raw.ask("tools/call", call("@say part\n@exit 3")).await;
        assert_eq!(
            (failed.status, &failed.result()["isError"]),
            (200, &json!(true))
        );
        assert_eq!(failed.result()["content"][0]["text"], "part");
        // Wrong arguments are for the model to correct, so they are a result too.
        let wrong = raw
            .ask(
                "tools/call",
                json!({"name": "execute", "arguments": {"promt": "x"}}),
            )
            .await;
        assert_eq!(
            (wrong.status, &wrong.result()["isError"]),
            (200, &json!(true))
        );
        let kind = if version == MODERN {
            json!("complete")
        } else {
            Value::Null
        };
        for reply in [&good, &failed, &wrong] {
            assert_eq!(reply.result()["resultType"], kind, "{version}");
        }
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_an_unknown_tool_is_invalid_params() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        for params in [
            json!({"name": "unknown"}),
            json!({"name": "Execute", "arguments": {"prompt": "x"}}),
        ] {
            let reply = raw.ask("tools/call", params).await;
            assert_eq!(reply.error(), (200, -32602), "{version}: {}", reply.body);
        }
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_progress_has_the_token_and_grows_and_is_sent_only_on_request() {
    let stack = Stack::with(StackOptions::default().bridge("--mcp-progress-ms=50")).await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let call = json!({"name": "execute", "arguments": {"prompt": "@silence 0.5\n@say x"}});
        for token in [json!("a token"), json!(7)] {
            let mut call = call.clone();
            call["_meta"] = json!({"progressToken": token});
            let reply = raw.ask("tools/call", call).await;
            assert_eq!(reply.result()["content"][0]["text"], "x");
            let (_, progress) = reply.messages.split_last().expect("messages");
            assert!(progress.len() >= 3, "{version}: {progress:?}");
            let mut last = -1.0;
            for notification in progress {
                assert_eq!(notification["method"], "notifications/progress");
                assert_eq!(notification["params"]["progressToken"], token);
                let value = notification["params"]["progress"]
                    .as_f64()
                    .expect("a number");
                assert!(value > last, "{progress:?}");
                last = value;
            }
        }
        let silent = raw.ask("tools/call", call).await;
        assert_eq!(silent.messages.len(), 1, "{version}: {:?}", silent.messages);
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_calls_at_the_same_time_have_a_stream_each() {
    let stack = Stack::with(StackOptions::default().bridge("--mcp-progress-ms=50")).await;
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let folder = stack.path(&id());
        let mut streams = Vec::new();
        for name in ["one", "two", "three"] {
            let prompt = format!("@wait {}\n@say {name}", folder.display());
            let params = json!({
                        "name": "execute",
                "arguments": {"prompt": prompt},
                "_meta": {"progressToken": name},
            });
            let message = raw.message("tools/call", params);
            let response = raw
                .start(Method::POST, &message.to_string(), &raw.headers(&message))
                .await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert_eq!(response.headers()["x-accel-buffering"], "no");
            streams.push((name, message, response));
        }
        // All of them run now: each one has sent progress, which opened its stream.
        std::fs::write(&folder, "").expect("a mark");
        for (name, message, response) in streams {
            let reply = Reply::read(response).await.expect("a whole stream");
            assert_eq!(reply.response()["id"], message["id"], "{version}");
            assert_eq!(reply.result()["content"][0]["text"], name, "{version}");
            let (_, progress) = reply.messages.split_last().expect("messages");
            let own = |notification: &Value| notification["params"]["progressToken"] == name;
            assert!(progress.iter().all(own), "{version}: {progress:?}");
        }
    }
    stack.assert_quiet();
}
