//! A client leaves one bridge, and returns through the other or not at all.

use cc_tests::harness::{Service, Stack, StackOptions, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::client;
use crate::sessions::execution_id;
use crate::support::{PATIENCE, ended, path, send, until};

async fn start() -> Stack {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1500");
    Stack::with(options.two_bridges()).await
}

/// Starts an execution with `onDisconnect: "cancel"` through this bridge, and disconnects. Returns
/// its id.
async fn leave(bridge: &Service) -> String {
    let mut client = client(bridge).await;
    let extra = json!({"onDisconnect": "cancel"});
    let id = execution_id(&client.execute("@say x\n@tool 60", extra).await);
    client.wait_output(&id, 1).await;
    client.vanish();
    id
}

/// Waits until claude-api has the cancel of a departure from this bridge.
async fn wait_reported(bridge: &Service, id: &str) {
    let settled = "claude-api accepted the cancel of an abandoned execution";
    let is_settled = |line: &Value| line["execution"] == id && line["message"] == settled;
    eventually("the departure to be reported", PATIENCE, || {
        bridge.lines().iter().any(is_settled).then_some(())
    })
    .await;
}

/// Waits until an execution is cancelled, without viewing it.
async fn wait_cancelled(stack: &Stack, id: &str) {
    let is_cancelled = |status: &Value| status["state"] == "cancelled";
    until(&stack.http(), id, "cancelled", is_cancelled).await;
    stack.assert_nothing_left(id).await;
}

/// Asserts that these executions still run, and cancels them.
async fn assert_still_run(stack: &Stack, ids: &[String]) {
    let http = stack.http();
    for id in ids {
        let status = http.status(id).await.expect("a status");
        assert_eq!(status["state"], "running", "{status}");
        let (code, ..) = send(&http, Method::POST, &path(id, "/cancel"), "").await;
        assert_eq!(code, 200);
        assert_eq!(ended(&http, id).await["state"], "cancelled");
    }
}

/// In both directions, before and after the departure is reported.
#[tokio::test]
async fn a_client_that_returns_through_the_other_bridge_keeps_its_execution() {
    let stack = start().await;
    let (first, second) = (&stack.bridge, stack.second_bridge());
    let (mut kept, mut viewers) = (Vec::new(), Vec::new());
    for (left, joined) in [(first, second), (second, first)] {
        for waits in [false, true] {
            let id = leave(left).await;
            if waits {
                wait_reported(left, &id).await;
            }
            let mut viewer = client(joined).await;
            viewer.attach(&id, None).await.expect("attached");
            viewer.wait_output(&id, 1).await;
            kept.push(id);
            viewers.push(viewer);
        }
    }
    // The graces of these two executions began last, and no client returns to them.
    for lost in [leave(first).await, leave(second).await] {
        wait_cancelled(&stack, &lost).await;
    }
    assert_still_run(&stack, &kept).await;
    for (viewer, id) in viewers.into_iter().zip(&kept) {
        assert_eq!(viewer.wait_terminal(id).await.1["status"], "CANCELLED");
        viewer.finish().await;
    }
    stack.assert_quiet();
}

/// A client that returned for a moment has not left, although no bridge saw both connections.
#[tokio::test]
async fn a_short_visit_through_the_other_bridge_ends_the_departure() {
    let stack = start().await;
    let id = leave(&stack.bridge).await;
    wait_reported(&stack.bridge, &id).await;
    let mut visitor = client(stack.second_bridge()).await;
    visitor.attach(&id, None).await.expect("attached");
    visitor.wait_output(&id, 1).await;
    visitor.vanish();
    let lost = leave(&stack.bridge).await;
    wait_cancelled(&stack, &lost).await;
    assert_still_run(&stack, &[id]).await;
    stack.assert_quiet();
}

/// claude-api counts the grace, so the end of a bridge loses no departure that was reported.
#[tokio::test]
async fn a_departure_cancels_the_execution_whichever_bridge_is_killed() {
    let mut stack = start().await;
    for killed in [&[0][..], &[1], &[0, 1]] {
        let id = leave(&stack.bridge).await;
        wait_reported(&stack.bridge, &id).await;
        for (number, bridge) in stack.bridges().enumerate() {
            if killed.contains(&number) {
                bridge.kill();
            }
        }
        let status = stack.http().status(&id).await.expect("a status");
        assert_eq!(status["state"], "running", "the grace has only begun");
        wait_cancelled(&stack, &id).await;
        for (number, bridge) in stack.bridges().enumerate() {
            if killed.contains(&number) {
                bridge.start_again().await;
            }
        }
    }
    stack.assert_quiet();
}

/// docs/protocol.md, "Request parameters": for `onDisconnect` a stop or crash of the bridge does
/// not count, also after a departure from the other bridge.
#[tokio::test]
async fn a_crash_of_the_bridge_of_a_returned_client_is_no_departure() {
    let mut stack = start().await;
    let id = leave(&stack.bridge).await;
    wait_reported(&stack.bridge, &id).await;
    let mut viewer = client(stack.second_bridge()).await;
    viewer.attach(&id, None).await.expect("attached");
    viewer.wait_output(&id, 1).await;
    stack.bridges().last().expect("a second bridge").kill();
    viewer.wait_closed().await;
    let lost = leave(&stack.bridge).await;
    wait_cancelled(&stack, &lost).await;
    assert_still_run(&stack, &[id]).await;
    stack.assert_quiet();
}
