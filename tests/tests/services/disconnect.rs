//! A session that is gone, and what becomes of its executions.

use std::time::{Duration, Instant};

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::json;

use crate::{
    sessions::text,
    support::{PATIENCE, ended, id},
};

/// An execution of a session of its own that says `x`, runs on, and is cancelled when its session is gone.
async fn left_alone(stack: &Stack) -> (ws::Client, String) {
    let mut client = stack.client().await;
    let extra = json!({"onDisconnect": "cancel"});
    let id = text(&client.execute("@say x\n@tree 3\n@tool 60", extra).await);
    client.wait_output(&id, 1).await;
    (client, id)
}

#[tokio::test]
async fn on_disconnect_cancel_waits_ten_seconds() {
    let stack = Stack::start().await;
    let (client, id) = left_alone(&stack).await;
    let gone = Instant::now();
    client.vanish();
    let end = ended(&stack.http(), &id).await;
    let after = gone.elapsed();
    assert_eq!(end["state"], "cancelled", "{end}");
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(18)).contains(&after),
        "{after:?}"
    );
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn whoever_attaches_in_time_keeps_it_and_a_crash_of_the_bridge_never_counts() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1500");
    let mut stack = Stack::with(options).await;
    let http = stack.http();
    // One that nobody attaches to tells when the grace is over.
    let (kept, kept_id) = left_alone(&stack).await;
    let (lost, lost_id) = left_alone(&stack).await;
    kept.vanish();
    let mut other = stack.client().await;
    other.attach(&kept_id, None).await.expect("attached");
    lost.vanish();
    assert_eq!(ended(&http, &lost_id).await["state"], "cancelled");
    assert_eq!(
        http.status(&kept_id).await.expect("a status")["state"],
        "running"
    );
    other
        .control("CANCEL", Some(&kept_id))
        .await
        .expect("accepted");
    other.wait_terminal(&kept_id).await;
    other.finish().await;
    // A stop or crash of the bridge: its clients did not leave.
    for crash in [true, false] {
        let (client, id) = left_alone(&stack).await;
        if crash {
            stack.crash_bridge().await;
        } else {
            assert!(stack.bridge.stop().await.success());
            stack.bridge.start_again().await;
        }
        client.wait_closed().await;
        let (lost, lost_id) = left_alone(&stack).await;
        lost.vanish();
        assert_eq!(ended(&http, &lost_id).await["state"], "cancelled");
        assert_eq!(
            http.status(&id).await.expect("a status")["state"],
            "running",
            "crash: {crash}"
        );
        let mut again = stack.client().await;
        again.control("CANCEL", Some(&id)).await.expect("accepted");
        assert_eq!(ended(&http, &id).await["state"], "cancelled");
        again.finish().await;
    }
}

#[tokio::test]
async fn a_disconnect_is_not_a_cancel() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let first = client.start("@silence 0.5\n@say a").await;
    let second = client.start("@say b").await;
    client.vanish();
    for id in [&first, &second] {
        assert_eq!(ended(&stack.http(), id).await["state"], "completed");
        assert_eq!(stack.spawns(id), 1);
    }
    // One whose answer nobody waited for.
    let mut client = stack.client().await;
    let unheard = id();
    client
        .request(
            "execute",
            json!({"prompt": "@say c", "executionId": unheard}),
        )
        .await;
    client
        .call("ping", json!({}))
        .await
        .expect("the request was read before");
    client.vanish();
    let http = stack.http();
    let end = Instant::now() + PATIENCE;
    while http.status(&unheard).await.is_err() {
        assert!(Instant::now() < end, "it was forgotten");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ended(&http, &unheard).await["state"], "completed");
    stack.assert_quiet();
}

/// Field case C24. An `input` that was refused as too large changes nothing about a departure.
#[tokio::test]
async fn a_client_that_leaves_after_a_refused_input_departs_as_any_other() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=1000");
    let stack = Stack::with(options).await;
    for (bytes, waits) in [(5 << 20, true), (5 << 20, false), (12 << 20, true)] {
        let mut client = stack.client().await;
        let extra = json!({"onDisconnect": "cancel", "input": "stream"});
        let id = text(&client.execute("@say x", extra).await);
        client.wait_output(&id, 1).await;
        let content = "x".repeat(bytes);
        let line = json!({"type": "user", "message": {"role": "user", "content": content}});
        let input = json!({"executionId": id, "offset": 0, "data": format!("{line}\n")});
        if waits {
            let error = client.call("input", input).await.expect_err("too large");
            assert_eq!(error["data"]["reason"], "too_large", "{error}");
        } else {
            client.request("input", input).await;
        }
        client.vanish();
        let end = ended(&stack.http(), &id).await;
        assert_eq!(end["state"], "cancelled", "{bytes} {waits}: {end}");
        stack.assert_nothing_left(&id).await;
    }
    stack.assert_quiet();
}
