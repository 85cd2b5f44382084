//! Tools, resources and refusals, as the official SDK sees them.

use cc_tests::harness::{Stack, StackOptions};
use serde_json::{Value, json};

use super::python_sdk::{ALL, Transport, run};
use crate::support::id;

#[tokio::test]
async fn mcp_every_tool_answers_over_every_transport() {
    let stack = Stack::start().await;
    for transport in ALL {
        run(&stack, transport, &["tools"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_questions_are_answered_over_every_transport() {
    let stack = Stack::with(StackOptions::default().api("--allowed-tools=Bash")).await;
    for transport in ALL {
        run(&stack, transport, &["questions"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_the_user_of_the_official_client_decides_with_a_form() {
    let stack = Stack::with(StackOptions::default().api("--allowed-tools=Bash")).await;
    for transport in ALL {
        run(&stack, transport, &["form"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_resources_are_listed_and_read_over_every_transport() {
    let stack = Stack::start().await;
    for transport in ALL {
        run(&stack, transport, &["resources"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_refusals_have_the_text_and_reason_of_the_websocket() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    let mut expected = json!({});
    for (name, method, params) in [
        ("unknown", "status", json!({"executionId": unknown})),
        (
            "control",
            "control",
            json!({"type": "PAUSE", "executionId": unknown}),
        ),
        ("attach", "attach", json!({"executionId": unknown})),
        (
            "workspace",
            "execute",
            json!({"prompt": "x", "workspace": "../up"}),
        ),
        ("blank", "execute", json!({"prompt": " "})),
        ("field", "execute", json!({"prompt": "x", "modle": "y"})),
        (
            "mode",
            "execute",
            json!({"prompt": "x", "permissionMode": "bypassPermissions"}),
        ),
    ] {
        let mut params = params;
        if method == "execute" {
            params["executionId"] = id().into();
        }
        let error = client.call(method, params).await.expect_err(name);
        expected[name] = json!([error["message"], error["data"]["reason"]]);
    }
    client.finish().await;
    for transport in ALL {
        let printed = run(&stack, transport, &["refusals"]).await;
        let line = printed.lines().next().expect("a line");
        let refusals: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(refusals, expected, "{transport:?}");
    }
    stack.assert_quiet();
}

/// By default, six minutes of silence have 24 notifications, one every 15 s. Here 2 s have one
/// every 100 ms.
#[tokio::test]
async fn mcp_a_silent_execution_sends_progress() {
    let stack = Stack::with(StackOptions::default().bridge("--mcp-progress-ms=100")).await;
    for transport in [Transport::Legacy, Transport::Modern] {
        run(&stack, transport, &["progress"]).await;
    }
    stack.assert_quiet();
}
