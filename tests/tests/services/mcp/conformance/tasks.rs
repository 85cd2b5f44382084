//! The extension for tasks (SEP-2663).

use cc_tests::harness::{Stack, until};
use serde_json::{Value, json};

use super::super::python_sdk::assert_valid;
use super::super::raw_client::{LEGACY, MODERN, RawClient, TASKS, with};
use crate::support::PATIENCE;

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// Opens a client that declares tasks.
async fn open(stack: &Stack, version: &'static str) -> RawClient {
    let mut raw = RawClient::new(stack, version);
    raw.capabilities = json!({"extensions": {TASKS: {}}});
    raw.begin().await;
    raw
}

fn execute(prompt: &str) -> Value {
    json!({"name": "execute", "arguments": {"prompt": prompt}})
}

/// Waits until the task is no longer working; returns it.
async fn ended(raw: &mut RawClient, task: &str) -> Value {
    until("the end of the task", PATIENCE, async || {
        let reply = raw.ask("tasks/get", json!({"taskId": task})).await;
        let state = reply.result();
        (state["status"] != "working").then(|| state.clone())
    })
    .await
}

#[track_caller]
fn assert_fields(task: &Value) {
    for name in ["taskId", "status", "createdAt", "lastUpdatedAt"] {
        assert!(task[name].is_string(), "{name}: {task}");
    }
    let ttl = task
        .get("ttlMs")
        .unwrap_or_else(|| panic!("no ttlMs: {task}"));
    assert!(
        ttl.is_null() || ttl.as_u64().is_some_and(|ms| ms > 0),
        "{task}"
    );
    assert!(
        task["pollIntervalMs"].as_u64().is_some_and(|ms| ms > 0),
        "{task}"
    );
    for old in ["ttl", "pollInterval", "task", "requestState"] {
        assert!(task.get(old).is_none(), "{old}: {task}");
    }
}

#[tokio::test]
async fn mcp_a_task_is_flat_can_be_read_at_once_and_holds_its_result() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in [LEGACY[3], MODERN] {
        let mut raw = open(&stack, version).await;
        let created = raw.ask("tools/call", execute("@silence 0.2\n@say x")).await;
        let created = created.result();
        assert_eq!(created["resultType"], "task", "{version}: {created}");
        assert_fields(created);
        for absent in ["result", "error", "inputRequests", "content"] {
            assert!(created.get(absent).is_none(), "{absent}: {created}");
        }
        let task = created["taskId"].as_str().expect("an id").to_owned();
        let now = raw.ask("tasks/get", json!({"taskId": task})).await;
        assert_fields(now.result());
        assert_eq!(now.result()["taskId"], json!(task));
        let done = ended(&mut raw, &task).await;
        assert_eq!(
            (&done["status"], &done["result"]["content"][0]["text"]),
            (&json!("completed"), &json!("x"))
        );
        assert!(
            done["result"]["_meta"]
                .get("io.modelcontextprotocol/related-task")
                .is_none()
        );
        // A tool that failed is a completed task; its result is the error.
        let created = raw.ask("tools/call", execute("@exit 3")).await;
        let task = created.result()["taskId"]
            .as_str()
            .expect("an id")
            .to_owned();
        let done = ended(&mut raw, &task).await;
        assert_eq!(
            (&done["status"], &done["result"]["isError"]),
            (&json!("completed"), &json!(true))
        );
        assert!(done.get("error").is_none());
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_cancel_of_a_task_is_acknowledged_without_its_fields_and_can_be_repeated() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut raw = open(&stack, version).await;
        let created = raw.ask("tools/call", execute("@silence 600")).await;
        let task = created.result()["taskId"]
            .as_str()
            .expect("an id")
            .to_owned();
        for _ in 0..2 {
            let ack = raw.ask("tasks/cancel", json!({"taskId": task})).await;
            let fields: Vec<_> = ack
                .result()
                .as_object()
                .expect("an object")
                .keys()
                .collect();
            assert!(
                fields
                    .iter()
                    .all(|name| ["resultType", "_meta"].contains(&name.as_str())),
                "{fields:?}"
            );
        }
        assert_eq!(ended(&mut raw, &task).await["status"], "cancelled");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_client_that_does_not_declare_tasks_gets_none() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut raw = RawClient::open(&stack, version).await;
        let status = if version == MODERN { 400 } else { 200 };
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let reply = raw
                .ask(method, json!({"taskId": UNKNOWN, "inputResponses": {}}))
                .await;
            assert_eq!(
                reply.error(),
                (status, -32021),
                "{version} {method}: {}",
                reply.body
            );
            let wanted = &reply.response()["error"]["data"]["requiredCapabilities"];
            assert!(wanted["extensions"][TASKS].is_object(), "{wanted}");
        }
        // A hint of an older draft of tasks changes nothing.
        let mut call = execute("@say x");
        call["task"] = json!({"ttl": 1000});
        let reply = raw.ask("tools/call", call).await;
        assert_eq!(reply.result()["content"][0]["text"], "x");
        assert!(reply.result().get("taskId").is_none());
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_an_unknown_task_is_invalid_params() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut raw = open(&stack, version).await;
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            for task in [UNKNOWN, "x"] {
                let params = json!({"taskId": task, "inputResponses": {}});
                let reply = raw.ask(method, params).await;
                assert_eq!(
                    reply.error(),
                    (200, -32602),
                    "{version} {method}: {}",
                    reply.body
                );
            }
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_the_header_of_a_task_must_name_the_task() {
    let stack = Stack::start().await;
    let mut raw = open(&stack, MODERN).await;
    let message = raw.message("tasks/get", json!({"taskId": UNKNOWN}));
    for value in [None, Some("x")] {
        let headers = with(raw.headers(&message), "mcp-name", value);
        let reply = raw.send(&message.to_string(), &headers).await;
        assert_eq!(reply.error(), (400, -32020), "{value:?}: {}", reply.body);
    }
    stack.assert_quiet();
}
