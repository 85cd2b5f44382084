//! S11: a lane runs one execution at a time; lanes run side by side up to a limit.

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::json;

use crate::{
    queue::cancel,
    support::{accept, ended, id, path, send, time, until},
};

#[tokio::test]
async fn s11_lanes_run_side_by_side_up_to_the_limit_and_a_paused_execution_counts() {
    let stack = Stack::with(
        StackOptions::default()
            .api("--running-executions=2")
            .api("--heartbeat-ms=150"),
    )
    .await;
    let http = stack.http();
    let (one, two, three) = (id(), id(), id());
    for id in [&one, &two] {
        accept(&http, id, "@say a\n@tool 60", json!({"lane": id})).await;
        until(&http, id, "running", |status| status["outputBytes"] == 1).await;
    }
    accept(&http, &three, "@say third", json!({"lane": "three"})).await;
    send(&http, Method::POST, &path(&one, "/pause"), "").await;
    until(&http, &one, "paused", |status| status["state"] == "paused").await;
    // Two heartbeats later the third still waits; with a free slot it would run.
    let mut lines = http.follow(&three).await.expect("a stream");
    for _ in 0..3 {
        let status = lines.next().await.expect("a line").expect("no end");
        assert_eq!(status["state"], "queued", "{status}");
        assert!(status["queuePosition"].is_u64(), "{status}");
    }
    drop(lines);
    cancel(&stack, &two).await;
    assert_eq!(ended(&http, &three).await["state"], "completed");
    assert_eq!(
        http.status(&one).await.expect("a status")["state"],
        "paused"
    );
    cancel(&stack, &one).await;
    assert_eq!(ended(&http, &one).await["state"], "cancelled");
    assert_eq!(stack.spawns(&three), 1);
    stack.assert_quiet();
}

#[tokio::test]
async fn s11_executions_of_different_lanes_overlap_and_those_of_one_lane_never() {
    let stack = Stack::with(
        StackOptions::default()
            .api("--running-executions=8")
            .api("--simultaneous-starts=8"),
    )
    .await;
    let http = stack.http();
    let mut ids = Vec::new();
    for number in 0..24 {
        let id = id();
        accept(
            &http,
            &id,
            "@silence 0.15\n@say x",
            json!({"lane": format!("lane {}", number % 6)}),
        )
        .await;
        ids.push((number % 6, id));
    }
    let mut spans = Vec::new();
    for (lane, id) in &ids {
        let end = ended(&http, id).await;
        assert_eq!(end["state"], "completed");
        spans.push((*lane, time(&end, "startedAt"), time(&end, "endedAt")));
    }
    let mut overlaps = 0;
    for (index, (lane, _, end)) in spans.iter().enumerate() {
        for (other, start, _) in &spans[index + 1..] {
            if lane == other {
                assert!(
                    start >= end,
                    "two of lane {lane} at the same time: {spans:?}"
                );
            } else if start < end {
                overlaps += 1;
            }
        }
    }
    assert!(overlaps > 0, "nothing ran side by side");
    stack.assert_quiet();
}
