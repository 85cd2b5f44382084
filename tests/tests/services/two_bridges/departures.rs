//! A client leaves one bridge, and comes back through the other or not at all.

use cc_tests::harness::{Service, Stack, StackOptions, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::client;
use crate::sessions::text;
use crate::support::{PATIENCE, ended, path, send, until};

async fn start() -> Stack {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1500");
    Stack::with(options.two_bridges()).await
}

/// Leaves this bridge behind an execution that runs on, and is to be cancelled when nobody comes
/// back. Returns its id.
async fn leave(bridge: &Service) -> String {
    let mut client = client(bridge).await;
    let extra = json!({"onDisconnect": "cancel"});
    let id = text(&client.execute("@say x\n@tool 60", extra).await);
    client.wait_output(&id, 1).await;
    client.vanish();
    id
}

/// Waits until claude-api has the cancel of a departure from this bridge.
async fn reported(bridge: &Service, id: &str) {
    let settled = "claude-api has a cancel that was owed";
    let is_settled = |line: &Value| line["execution"] == id && line["message"] == settled;
    eventually("the departure to be reported", PATIENCE, || {
        bridge.lines().iter().any(is_settled).then_some(())
    })
    .await;
}

/// Waits until an execution is cancelled, without viewing it.
async fn cancelled(stack: &Stack, id: &str) {
    let is_cancelled = |status: &Value| status["state"] == "cancelled";
    until(&stack.http(), id, "cancelled", is_cancelled).await;
    stack.assert_nothing_left(id).await;
}

/// Asserts that these still run, and ends them.
async fn still_run(stack: &Stack, ids: &[String]) {
    let http = stack.http();
    for id in ids {
        let status = http.status(id).await.expect("a status");
        assert_eq!(status["state"], "running", "{status}");
        let (code, ..) = send(&http, Method::POST, &path(id, "/cancel"), "").await;
        assert_eq!(code, 200);
        assert_eq!(ended(&http, id).await["state"], "cancelled");
    }
}

/// Issue 13, "Two bridges": both directions, before and after the departure is reported.
#[tokio::test]
async fn a_client_that_comes_back_through_the_other_bridge_keeps_its_execution() {
    let stack = start().await;
    let (first, second) = (&stack.bridge, stack.second_bridge());
    let (mut kept, mut viewers) = (Vec::new(), Vec::new());
    for (left, joined) in [(first, second), (second, first)] {
        for waits in [false, true] {
            let id = leave(left).await;
            if waits {
                reported(left, &id).await;
            }
            let mut viewer = client(joined).await;
            viewer.attach(&id, None).await.expect("attached");
            viewer.wait_output(&id, 1).await;
            kept.push(id);
            viewers.push(viewer);
        }
    }
    // Each grace began before those of these two, to which nobody comes back.
    for lost in [leave(first).await, leave(second).await] {
        cancelled(&stack, &lost).await;
    }
    still_run(&stack, &kept).await;
    for (viewer, id) in viewers.into_iter().zip(&kept) {
        assert_eq!(viewer.wait_terminal(id).await.1["status"], "CANCELLED");
        viewer.finish().await;
    }
    stack.assert_quiet();
}

/// A client that came back for a moment has not left, though no bridge saw both.
#[tokio::test]
async fn a_short_visit_through_the_other_bridge_ends_the_departure() {
    let stack = start().await;
    let id = leave(&stack.bridge).await;
    reported(&stack.bridge, &id).await;
    let mut visitor = client(stack.second_bridge()).await;
    visitor.attach(&id, None).await.expect("attached");
    visitor.wait_output(&id, 1).await;
    visitor.vanish();
    let lost = leave(&stack.bridge).await;
    cancelled(&stack, &lost).await;
    still_run(&stack, &[id]).await;
    stack.assert_quiet();
}

/// claude-api counts the grace, so that no end of a bridge loses a departure that was reported.
#[tokio::test]
async fn an_execution_that_was_left_is_cancelled_whichever_bridge_dies_meanwhile() {
    let mut stack = start().await;
    for dead in [&[0][..], &[1], &[0, 1]] {
        let id = leave(&stack.bridge).await;
        reported(&stack.bridge, &id).await;
        for (number, bridge) in stack.bridges().enumerate() {
            if dead.contains(&number) {
                bridge.kill();
            }
        }
        let status = stack.http().status(&id).await.expect("a status");
        assert_eq!(status["state"], "running", "the grace has only begun");
        cancelled(&stack, &id).await;
        for (number, bridge) in stack.bridges().enumerate() {
            if dead.contains(&number) {
                bridge.start_again().await;
            }
        }
    }
    stack.assert_quiet();
}

/// docs/protocol.md, "Request parameters": for `onDisconnect` a stop or crash of the bridge does
/// not count, also after a departure from the other bridge.
#[tokio::test]
async fn a_crash_of_the_bridge_that_a_client_came_back_through_is_no_departure() {
    let mut stack = start().await;
    let id = leave(&stack.bridge).await;
    reported(&stack.bridge, &id).await;
    let mut viewer = client(stack.second_bridge()).await;
    viewer.attach(&id, None).await.expect("attached");
    viewer.wait_output(&id, 1).await;
    stack.bridges().last().expect("a second bridge").kill();
    viewer.wait_closed().await;
    let lost = leave(&stack.bridge).await;
    cancelled(&stack, &lost).await;
    still_run(&stack, &[id]).await;
    stack.assert_quiet();
}
