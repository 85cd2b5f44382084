//! Malformed messages: texts that are no JSON, are no message, or have wrong parameters.

use cc_tests::harness::Stack;

use serde_json::{Value, json};

use super::raw_client::{LEGACY, MODERN, RawClient, VERSIONS, base_headers, with};
use super::stdio_client::StdioClient;
use crate::metrics;

const REFUSED: &str = "bridge_requests_refused_total";

/// Returns texts that are no message, each with the code and the id of the expected error.
fn unreadable() -> Vec<(String, i64, Value)> {
    let call = |arguments: &str| {
        let head = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":"#;
        format!(r#"{head}{{"name":"execute","arguments":{arguments}}}}}"#)
    };
    let bad = |text: &str, code| (text.to_owned(), code, Value::Null);
    vec![
        bad("{", -32700),
        bad("nonsense", -32700),
        bad(r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, -32700),
        bad(&call(r#"{"prompt":"@say \ud83d"}"#), -32700),
        bad("7", -32600),
        bad("null", -32600),
        bad("[]", -32600),
        bad("{}", -32600),
        bad(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        bad(r#"{"jsonrpc":"2.0","id":8,"id":9,"method":"ping"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}"#.to_owned(),
            -32600,
            7.into(),
        ),
        (
            r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#.to_owned(),
            -32600,
            7.into(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":5}"#.to_owned(),
            -32600,
            "a".into(),
        ),
        (
            call(r#"{"prompt":"@say first","prompt":"@say second"}"#),
            -32600,
            7.into(),
        ),
    ]
}

/// Malformed lines on stdin are refused as over HTTP and WebSocket, and the session continues.
#[tokio::test]
async fn mcp_stdio_answers_each_malformed_line_and_runs_nothing() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut program = StdioClient::open(&stack, version).await;
        for (line, code, id) in unreadable() {
            program.write(&line).await;
            let answer = program.next().await.expect("an answer");
            let got = (&answer["error"]["code"], &answer["id"]);
            assert_eq!(got, (&json!(code), &id), "{version} {line}: {answer}");
        }
        let list = json!({"name": "list", "arguments": {}});
        let answer = program.ask(51, "tools/call", list).await;
        let list = &answer["result"]["structuredContent"]["executions"];
        assert_eq!(list, &json!([]), "{version}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_body_that_is_no_message_is_400_with_a_json_rpc_error() {
    let stack = Stack::start().await;
    let mut sent = 0.0;
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("tools/call", json!({"name": "execute"}));
        let headers = raw.headers(&message);
        for (body, code, id) in unreadable() {
            let reply = raw.send(&body, &headers).await;
            let problem: Value = serde_json::from_str(&reply.body).unwrap_or_default();
            let got = (reply.status, &problem["type"], &problem["error"]["code"]);
            let wanted = (400, &json!("invalid-body"), &json!(code));
            assert_eq!(got, wanted, "{version} {body}: {}", reply.body);
            assert_eq!(problem["id"], id, "{version} {body}: {problem}");
            let detail = problem["detail"].as_str().expect("a detail");
            assert!(!detail.is_empty() && problem["error"]["message"] == detail);
            sent += 1.0;
        }
        let text = with(headers, "content-type", Some("text/plain"));
        let reply = raw.send("{", &text).await;
        assert_eq!(reply.status, 415, "{version}: {}", reply.body);
        assert!(raw.ask("tools/list", json!({})).await.result()["tools"].is_array());
    }
    let page = metrics::page(stack.bridge.addr()).await;
    for (reason, count) in [
        ("invalid_body", sent),
        ("mcp_media_type", VERSIONS.len() as f64),
        ("mcp_bad_request", 0.0),
    ] {
        assert_eq!(page.sum(REFUSED, &[("reason", reason)]), count, "{reason}");
    }
    stack.assert_quiet();
}

/// Returns parameters of the wrong shape, each with a word of the expected error.
fn wrong_parameters() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("tools/call", json!({}), "name"),
        ("tools/call", json!({"name": 5}), "string"),
        (
            "tools/call",
            json!({"name": "status", "arguments": []}),
            "map",
        ),
        ("resources/read", json!({}), "uri"),
        ("resources/read", json!({"uri": 5}), "string"),
        ("tasks/get", json!({}), "taskId"),
        ("tasks/cancel", json!({"taskId": 5}), "string"),
    ]
}

#[tokio::test]
async fn mcp_wrong_parameters_are_distinguished_from_an_unknown_method() {
    let stack = Stack::start().await;
    let mut sent = 0.0;
    for version in LEGACY {
        let mut raw = RawClient::open(&stack, version).await;
        let mut program = StdioClient::open(&stack, version).await;
        for (method, params, word) in wrong_parameters() {
            let reply = raw.ask(method, params.clone()).await;
            assert_eq!(
                reply.error(),
                (200, -32602),
                "{method} {params}: {}",
                reply.body
            );
            let error = &reply.response()["error"];
            let message = error["message"].as_str().expect("a message");
            assert!(
                message.contains(method) && message.contains(word),
                "{message}"
            );
            sent += 1.0;
            let answer = program.ask(9, method, params.clone()).await;
            assert_eq!(&answer["error"], error, "{method} {params}");
        }
    }
    // An `initialize` with wrong parameters begins no session.
    let raw = RawClient::new(&stack, LEGACY[3]);
    let message = json!({"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": {}});
    let reply = raw.send(&message.to_string(), &base_headers()).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    let problem: Value = serde_json::from_str(&reply.body).expect("a problem");
    assert_eq!(
        (&problem["id"], &problem["error"]["code"]),
        (&json!(3), &json!(-32602)),
        "{problem}"
    );
    // In the version without sessions, a call without a name has no `mcp-name` header, which is
    // another error. So only the arguments are wrong here.
    let mut raw = RawClient::open(&stack, MODERN).await;
    for (method, params, word) in [(
        "tools/call",
        json!({"name": "status", "arguments": []}),
        "map",
    )] {
        let reply = raw.ask(method, params.clone()).await;
        assert_eq!(reply.error().1, -32602, "{method} {params}: {}", reply.body);
        assert!(reply.body.contains(word), "{}", reply.body);
        sent += 1.0;
    }
    let page = metrics::page(stack.bridge.addr()).await;
    for (reason, count) in [("invalid_params", sent), ("unknown_method", 0.0)] {
        assert_eq!(page.sum(REFUSED, &[("reason", reason)]), count, "{reason}");
    }
    assert_eq!(page.sum(REFUSED, &[]), sent + 1.0);
    stack.assert_quiet();
}
