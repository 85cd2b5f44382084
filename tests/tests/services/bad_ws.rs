//! Bad input over the WebSocket: each message gets a clear error, and no other session notices.

use cc_tests::{
    harness::Stack,
    ws::{self, Message},
};
use serde_json::{Value, json};

use crate::support::{exists, id};

/// Sends a text that is no request with an id; returns the error, whose id is null.
pub(crate) async fn error_without_id(client: &mut ws::Client, text: &str) -> Value {
    // The text bypasses the client's list of requests, because it is none.
    client.send_frame(Message::text(text)).await;
    let answer = client.wait_without_id().await;
    assert_eq!(answer.get("id"), Some(&Value::Null), "{answer}");
    answer["error"].clone()
}

#[tokio::test]
async fn a_text_that_is_no_request_gets_an_error_and_the_session_continues() {
    let stack = Stack::start().await;
    let mark = stack.path("tmp").join("running");
    let mut other = stack.client().await;
    let untouched = other
        .start(&format!("@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    let mut client = stack.client().await;
    for text in [
        "",
        "{",
        "nonsense",
        "1 2",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"",
        r#"{"jsonrpc":"2.0","id":9,"method":"execute","params":{"prompt":"x \ud83d"}}"#,
        r#"["\udc00"]"#,
    ] {
        assert_eq!(
            error_without_id(&mut client, text).await["code"],
            -32700,
            "{text}"
        );
    }
    for text in [
        "7",
        "null",
        "\"ping\"",
        "[]",
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
    ] {
        assert_eq!(
            error_without_id(&mut client, text).await["code"],
            -32600,
            "{text}"
        );
    }
    client.send_frame(Message::binary(b"{}".to_vec())).await;
    let answer = client.wait_without_id().await;
    assert_eq!(
        (&answer["error"]["code"], &answer["id"]),
        (&json!(-32600), &Value::Null)
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    client.send_frame(Message::text(deep)).await;
    let answer = client.wait_without_id().await;
    // As a batch, the text has one entry, which is no request.
    let answer = answer.get(0).unwrap_or(&answer);
    assert_eq!(answer.get("id"), Some(&Value::Null), "{answer}");
    let code = &answer["error"]["code"];
    assert!(*code == -32700 || *code == -32600, "{answer}");
    client.send_frame(Message::Ping(b"x".to_vec().into())).await;
    let (output, _) = client.run("@say alive").await;
    assert_eq!(output, b"alive");
    client.finish().await;
    assert_eq!(
        other.call("status", json!({})).await.expect("a status")["state"],
        "running"
    );
    other
        .control("CANCEL", Some(&untouched))
        .await
        .expect("accepted");
    other.wait_terminal(&untouched).await;
    other.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn wrong_requests_get_an_error_with_their_id() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let unknown = id();
    let ended = client.run("@say a\u{e9}b").await.1["executionId"].clone();
    for (method, params, code) in [
        ("run", json!({}), -32601),
        ("", json!({}), -32601),
        ("input", json!({"offset": 0, "data": ""}), -32003),
        ("execute", json!({}), -32602),
        ("execute", json!(["x"]), -32602),
        ("execute", json!({"prompt": "a", "command": "b"}), -32602),
        ("execute", json!({"prompt": 7}), -32602),
        ("execute", json!({"prompt": ""}), -32602),
        ("execute", json!({"prompt": " \n\u{3000}"}), -32602),
        ("execute", json!({"prompt": "x", "colour": "red"}), -32602),
        (
            "execute",
            json!({"prompt": "x", "executionId": "x"}),
            -32602,
        ),
        ("execute", json!({"prompt": "x", "executionId": 7}), -32602),
        ("execute", json!({"prompt": "x", "onSlow": "run"}), -32602),
        (
            "execute",
            json!({"prompt": "x", "onDisconnect": "CANCEL"}),
            -32602,
        ),
        (
            "execute",
            json!({"prompt": "x", "workspace": "../up"}),
            -32602,
        ),
        (
            "execute",
            json!({"prompt": "x", "env": {"SECRET": "1"}}),
            -32002,
        ),
        (
            "execute",
            json!({"prompt": "x", "permissionMode": "bypassPermissions"}),
            -32002,
        ),
        (
            "execute",
            json!({"prompt": "x", "allowedTools": ["Bash"]}),
            -32002,
        ),
        (
            "execute",
            json!({"prompt": "x", "conversation": unknown}),
            -32003,
        ),
        (
            "execute",
            json!({"prompt": "x".repeat((4 << 20) + 1)}),
            -32602,
        ),
        (
            "execute",
            json!({"prompt": "x", "systemPrompt": "x".repeat((64 << 10) + 1)}),
            -32602,
        ),
        ("control", json!({}), -32602),
        ("control", json!({"type": "KILL"}), -32602),
        ("control", json!({"type": "cancel"}), -32602),
        ("control", json!({"type": "CANCEL"}), -32003),
        (
            "control",
            json!({"type": "CANCEL", "executionId": unknown}),
            -32003,
        ),
        (
            "control",
            json!({"type": "CANCEL", "executionId": "x"}),
            -32602,
        ),
        ("attach", json!({}), -32602),
        ("attach", json!({"executionId": unknown}), -32003),
        (
            "attach",
            json!({"executionId": ended, "offset": -1}),
            -32602,
        ),
        ("attach", json!({"executionId": ended, "offset": 5}), -32602),
        ("detach", json!({}), -32602),
        ("status", json!({}), -32003),
        ("status", json!({"executionId": unknown}), -32003),
        ("list", json!({"limit": 0}), -32602),
        ("list", json!({"limit": 1001}), -32602),
        ("list", json!({"before": unknown}), -32003),
        ("ping", json!({"a": 1}), -32602),
    ] {
        let error = client.call(method, params.clone()).await.expect_err(method);
        let shown: String = params.to_string().chars().take(80).collect();
        assert_eq!(error["code"], code, "{method} {shown}: {error}");
        if method == "execute" && params.is_object() {
            assert!(error["data"]["executionId"].is_string(), "{shown}: {error}");
        }
        if params["offset"] == 5 {
            assert_eq!(error["data"]["reason"], "offset_beyond_end");
        }
    }
    for request in [
        json!({"jsonrpc": "1.0", "id": 901, "method": "ping"}),
        json!({"id": 902, "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": 903, "method": "ping", "params": 7}),
    ] {
        client.send_text(&request.to_string()).await;
        let id = request["id"].as_u64().expect("a number");
        let error = client.answer(id).await.expect_err("no request");
        assert_eq!(error["code"], -32600, "{request}");
    }
    // With an offset inside a character, the view starts at the character's first byte.
    let id = ended.as_str().expect("an id");
    client.attach(id, Some(2)).await.expect("attached");
    let (output, _) = client.wait_terminal(id).await;
    assert_eq!(String::from_utf8_lossy(&output), "\u{e9}b");
    let upper = client
        .call("status", json!({"executionId": id.to_uppercase()}))
        .await
        .expect("a status");
    assert_eq!(upper["executionId"], ended);
    client.finish().await;
    stack.assert_quiet();
}
