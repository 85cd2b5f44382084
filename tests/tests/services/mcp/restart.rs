//! Stops and kills of the bridge.
//!
//! At a stop, each call that waits for an execution gets an error that says how to continue. A kill
//! ends the connection. In both cases the execution continues in claude-api, and the bridge
//! finds it again after its restart.

use std::time::{Duration, Instant};

use cc_tests::harness::Stack;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::partial_post::{CHUNKED, PartialPost};
use super::python_sdk::{Scenario, Transport, assert_valid};
use super::raw_client::{LEGACY, MODERN, RawClient, Reply, TASKS};
use super::{state, until};
use crate::support::id;

/// Limit for an immediate answer: far less than any client waits, and more than a busy machine
/// needs.
const IMMEDIATE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn mcp_a_restart_of_the_bridge_loses_no_task() {
    for transport in [Transport::Modern, Transport::Stdio] {
        let mut stack = Stack::start().await;
        let mut talk = Scenario::start(&stack, transport, &["tasks"]);
        talk.expect("restart").await;
        stack.crash_bridges().await;
        let stdin = talk.child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(b"\n").await.expect("the scenario reads");
        talk.expect("ok").await;
    }
}

/// Calls that wait for their answers.
struct PendingCalls {
    raw: RawClient,
    /// The execution and the response of each call.
    calls: Vec<(String, Response)>,
    /// File that lets all executions continue.
    go: std::path::PathBuf,
}

/// Begins an `execute` for each `onDisconnect`, and a `wait`; all executions wait for a file.
async fn begin_calls(stack: &Stack, version: &'static str) -> PendingCalls {
    let mut raw = RawClient::open(stack, version).await;
    let go = stack.path(&id());
    let prompt = format!("@say so far\n@wait {}\n@say , and on", go.display());
    let mut calls = Vec::new();
    for on_disconnect in ["continue", "cancel"] {
        let execution = id();
        let arguments =
            json!({"prompt": prompt, "executionId": execution, "onDisconnect": on_disconnect});
        let response = begin(&mut raw, "execute", arguments).await;
        until(stack, &execution, "running").await;
        calls.push((execution, response));
    }
    let started = raw.call("start", json!({"prompt": prompt})).await;
    let execution = started["executionId"].as_str().expect("an id").to_owned();
    until(stack, &execution, "running").await;
    let response = begin(&mut raw, "wait", json!({"executionId": execution})).await;
    calls.push((execution, response));
    PendingCalls { raw, calls, go }
}

/// Begins a call that sends progress, so that the head of its response arrives at once.
async fn begin(raw: &mut RawClient, tool: &str, arguments: Value) -> Response {
    let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": 1}});
    let message = raw.message("tools/call", params);
    let headers = raw.headers(&message);
    let response = raw
        .start(Method::POST, &message.to_string(), &headers)
        .await;
    assert_eq!(response.status(), 200);
    response
}

/// Asserts that the restarted bridge has the whole answer, by `wait` and as a task, and that no
/// prompt ran twice.
async fn assert_recovered(
    stack: &Stack,
    version: &'static str,
    pending: &PendingCalls,
    executions: &[String],
) {
    for execution in executions {
        assert_eq!(state(stack, execution).await, "running", "{version}");
    }
    std::fs::write(&pending.go, "").expect("a mark");
    let mut raw = RawClient::new(stack, version);
    raw.capabilities = json!({"extensions": {TASKS: {}}});
    raw.begin().await;
    for execution in executions {
        let seen = raw.call("wait", json!({"executionId": execution})).await;
        assert_eq!(
            (&seen["state"], &seen["text"]),
            (&json!("completed"), &json!("so far, and on")),
            "{version}"
        );
        let task = raw.ask("tasks/get", json!({"taskId": execution})).await;
        assert_eq!(
            task.result()["result"]["content"][0]["text"],
            "so far, and on",
            "{version}"
        );
        assert_eq!(stack.spawns(execution), 1);
    }
    assert_valid(&raw.seen());
}

#[tokio::test]
async fn mcp_a_stop_of_the_bridge_answers_its_calls_and_their_executions_continue() {
    for version in [LEGACY[3], MODERN] {
        let mut stack = Stack::start().await;
        let mut pending = begin_calls(&stack, version).await;
        let begun = Instant::now();
        assert!(stack.bridge.stop().await.success());
        assert!(
            begun.elapsed() < IMMEDIATE,
            "{version}: {:?}",
            begun.elapsed()
        );
        let mut executions = Vec::new();
        for (execution, response) in std::mem::take(&mut pending.calls) {
            let reply = timeout(IMMEDIATE, Reply::read(response))
                .await
                .expect("an end");
            let reply = reply.expect("an orderly end");
            let result = reply.result();
            assert_eq!(result["isError"], true, "{version}: {result}");
            assert_eq!(
                result["structuredContent"]["reason"], "stopping",
                "{version}: {result}"
            );
            let text = result["content"][0]["text"].as_str().expect("text");
            assert!(
                text.contains("`wait`") && text.contains(&execution),
                "{text}"
            );
            executions.push(execution);
        }
        stack.bridge.start_again().await;
        assert_recovered(&stack, version, &pending, &executions).await;
        drop(pending.raw);
        stack.assert_quiet();
    }
}

#[tokio::test]
async fn mcp_a_stop_of_the_bridge_does_not_wait_for_a_body() {
    let mut stack = Stack::start().await;
    let length = "Content-Length: 1000\r\n";
    let mut late = Vec::new();
    for head in [length, CHUNKED] {
        let wire = PartialPost::begin(stack.bridge.addr(), head).await;
        late.push(wire.expect("the bridge reads the body"));
    }
    let begun = Instant::now();
    assert!(stack.bridge.stop().await.success());
    assert!(begun.elapsed() < IMMEDIATE, "{:?}", begun.elapsed());
    for wire in late {
        let answer = wire.answer().await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
        assert!(answer.contains(r#""type":"stopping""#), "{answer:?}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_kill_of_the_bridge_ends_the_connection_and_executions_continue() {
    for version in [LEGACY[3], MODERN] {
        let mut stack = Stack::start().await;
        let mut pending = begin_calls(&stack, version).await;
        stack.bridge.kill();
        let mut executions = Vec::new();
        for (execution, response) in std::mem::take(&mut pending.calls) {
            let reply = timeout(IMMEDIATE, Reply::read(response))
                .await
                .expect("an end");
            assert!(
                reply.is_err(),
                "{version}: an answer of a killed bridge: {reply:?}"
            );
            executions.push(execution);
        }
        stack.bridge.start_again().await;
        assert_recovered(&stack, version, &pending, &executions).await;
        drop(pending.raw);
    }
}

/// `ccb mcp` outlives the bridge: it reconnects, and its call gets the whole answer.
#[tokio::test]
async fn mcp_a_call_over_stdio_survives_a_stop_and_a_kill_of_the_bridge() {
    for crash in [false, true] {
        let mut stack = Stack::start().await;
        let (execution, go) = (id(), stack.path(&id()));
        let prompt = format!("@say so far\n@wait {}\n@say , and on", go.display());
        let arguments = json!({"prompt": prompt, "executionId": execution});
        let mut talk = Scenario::start(
            &stack,
            Transport::Stdio,
            &["answer", &arguments.to_string()],
        );
        talk.expect("calling").await;
        until(&stack, &execution, "running").await;
        if crash {
            stack.bridge.kill();
        } else {
            assert!(stack.bridge.stop().await.success());
        }
        std::fs::write(&go, "").expect("a mark");
        until(&stack, &execution, "completed").await;
        stack.bridge.start_again().await;
        talk.expect("so far, and on").await;
        talk.expect("ok").await;
        assert_eq!(stack.spawns(&execution), 1);
    }
}
