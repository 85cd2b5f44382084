//! The end of a session: its calls are abandoned at once, without the library's wait of 5 s.

use std::time::{Duration, Instant};

use cc_tests::harness::{self, Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::raw_client::{LEGACY, RawClient, VERSIONS};
use super::stdio_client::StdioClient;
use super::{state, until};
use crate::support::{PATIENCE, id};

/// Less than the time that the library waits for the answers of running calls.
const IMMEDIATE: Duration = Duration::from_secs(4);

async fn stack(calls: usize) -> Stack {
    let options = StackOptions::default()
        .bridge("--disconnect-grace-ms=200")
        .bridge(format!("--mcp-calls={calls}"));
    Stack::with(options).await
}

/// Returns the parameters of an `execute` whose execution stays silent.
fn silent(execution: &str, on_disconnect: &str) -> Value {
    let arguments =
        json!({"prompt": "@silence 600", "executionId": execution, "onDisconnect": on_disconnect});
    json!({"name": "execute", "arguments": arguments})
}

#[tokio::test]
async fn mcp_delete_of_a_session_abandons_its_calls_at_once() {
    for (on_disconnect, wanted) in [("cancel", "cancelled"), ("continue", "running")] {
        let stack = stack(1).await;
        let mut raw = RawClient::open(&stack, LEGACY[3]).await;
        let execution = id();
        let message = raw.message("tools/call", silent(&execution, on_disconnect));
        let headers = raw.headers(&message);
        let _stream = raw
            .start(Method::POST, &message.to_string(), &headers)
            .await;
        until(&stack, &execution, "running").await;
        let mut other = RawClient::open(&stack, LEGACY[3]).await;
        // Of an unknown execution: a view of this one would withdraw its cancel.
        let poll = json!({"executionId": id(), "maxSeconds": 0});
        let refused = other.call("wait", poll.clone()).await;
        assert_eq!(refused["reason"], "too_many_calls");

        let began = Instant::now();
        let headers = raw.headers(&json!({}));
        let deleted = raw.start(Method::DELETE, "", &headers).await;
        assert_eq!(deleted.status(), 204);
        harness::until("a free permit", PATIENCE, async || {
            let seen = other.call("wait", poll.clone()).await;
            (seen["reason"] != "too_many_calls").then_some(())
        })
        .await;
        until(&stack, &execution, wanted).await;
        let took = began.elapsed();
        assert!(took < IMMEDIATE, "{on_disconnect}: {took:?}");
        stack.assert_quiet();
    }
}

#[tokio::test]
async fn mcp_the_end_of_stdin_abandons_the_calls_and_ends_the_program_at_once() {
    let stack = stack(2).await;
    for version in VERSIONS {
        let mut program = StdioClient::open(&stack, version).await;
        let (cancelled, kept) = (id(), id());
        for (number, execution, on_disconnect) in
            [(2, &cancelled, "cancel"), (3, &kept, "continue")]
        {
            program
                .send(number, "tools/call", silent(execution, on_disconnect))
                .await;
            until(&stack, execution, "running").await;
        }
        let began = Instant::now();
        let status = program.leave().await;
        let took = began.elapsed();
        assert!(status.success(), "{version}: {status}");
        assert!(took < IMMEDIATE, "{version}: {took:?}");
        until(&stack, &cancelled, "cancelled").await;
        assert!(
            began.elapsed() < IMMEDIATE,
            "{version}: {:?}",
            began.elapsed()
        );
        assert_eq!(state(&stack, &kept).await, "running", "{version}");
    }
    stack.assert_quiet();
}

/// A request that arrived completely before the end of stdin takes effect.
#[tokio::test]
async fn mcp_an_execute_right_before_the_end_of_stdin_is_accepted() {
    let stack = stack(2).await;
    for version in VERSIONS {
        let execution = id();
        let mut program = StdioClient::open(&stack, version).await;
        program
            .send(2, "tools/call", silent(&execution, "continue"))
            .await;
        assert!(program.leave().await.success());
        until(&stack, &execution, "running").await;
    }
    stack.assert_quiet();
}
