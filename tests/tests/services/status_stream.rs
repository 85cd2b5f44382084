//! The stream of statuses, over HTTP and as statusUpdates.

use std::time::{Duration, Instant};

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, ended, id, path, send};

/// Follows an execution to its end; returns each line with its time.
async fn follow_timed(stack: &Stack, id: &str) -> Vec<(Instant, Value)> {
    let mut lines = stack.http().follow(id).await.expect("a stream");
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await.expect("a line") {
        seen.push((Instant::now(), line));
    }
    seen
}

#[tokio::test]
async fn the_status_of_a_silent_execution_is_repeated_each_heartbeat() {
    let options = StackOptions::default()
        .api("--heartbeat-ms=200")
        .bridge("--heartbeat-ms=200");
    let stack = Stack::with(options).await;
    let mut client = stack.client().await;
    let id = client.start("@say x\n@tool 2").await;
    let seen = follow_timed(&stack, &id).await;
    let (output, _) = client.wait_terminal(&id).await;
    assert_eq!(output, b"x");
    let tool = |status: &Value| status["activity"] == "tool: Bash" && status["state"] == "running";
    // Two seconds of silence hold nine heartbeats; a busy machine may be late with some.
    let silent = seen.iter().filter(|(_, status)| tool(status)).count();
    assert!((5..=14).contains(&silent), "{silent}: {seen:#?}");
    let updates = client.updates(&id);
    let silent = updates.iter().filter(|status| tool(status)).count();
    assert!((5..=25).contains(&silent), "{silent}: {updates:#?}");
    let elapsed: Vec<u64> = updates
        .iter()
        .map(|status| status["elapsedMs"].as_u64().expect("a number"))
        .collect();
    assert!(elapsed.is_sorted(), "{elapsed:?}");
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_follower_gets_at_most_ten_lines_a_second_and_the_end_last() {
    let stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    // Some hundred changes of activity.
    accept(&http, &id, &"@tool 0.01\n@say x\n".repeat(150), json!({})).await;
    let begun = Instant::now();
    let seen = follow_timed(&stack, &id).await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(1400),
        "too quick to tell: {took:?}"
    );
    // The first and the terminal line are not delayed.
    let most = took.as_millis() / 100 + 3;
    assert!(
        (seen.len() as u128) <= most,
        "{} lines in {took:?}",
        seen.len()
    );
    assert!(seen.len() >= 8, "{} lines in {took:?}", seen.len());
    let last = &seen.last().expect("a line").1;
    assert_eq!(last["state"], "completed");
    assert!(
        seen[..seen.len() - 1]
            .iter()
            .all(|(_, status)| status["endedAt"].is_null())
    );
    assert_eq!(follow_timed(&stack, &id).await.len(), 1);
    stack.assert_quiet();
}

#[tokio::test]
async fn each_follower_gets_the_states_in_order() {
    let stack = Stack::start().await;
    let (http, first, id) = (stack.http(), id(), id());
    accept(&http, &first, "@tool 60", json!({"lane": "one"})).await;
    accept(&http, &id, "@say x\n@tool 60", json!({"lane": "one"})).await;
    let followers: Vec<_> = (0..3)
        .map(|_| {
            let (http, id) = (http.clone(), id.clone());
            tokio::spawn(async move { http.follow_to_end(&id).await.expect("a stream") })
        })
        .collect();
    let mut own = http.follow(&id).await.expect("a stream");
    let mut reach = async |wanted: &str| loop {
        let line = own.next().await.expect("a line").expect("no end");
        if line["state"] == wanted {
            return;
        }
    };
    reach("queued").await;
    send(&http, Method::POST, &path(&first, "/cancel"), "").await;
    reach("running").await;
    send(&http, Method::POST, &path(&id, "/pause"), "").await;
    reach("paused").await;
    send(&http, Method::POST, &path(&id, "/cancel"), "").await;
    reach("cancelled").await;
    for follower in followers {
        let seen = follower.await.expect("a task");
        let mut states: Vec<_> = seen
            .iter()
            .map(|status| status["state"].as_str().expect("a state").to_owned())
            .collect();
        states.dedup();
        assert!(states.ends_with(&["cancelled".to_owned()]), "{states:?}");
        let allowed = ["queued", "running", "paused", "running", "cancelled"];
        let mut rest = allowed.iter();
        assert!(
            states.iter().all(|state| rest.any(|one| one == state)),
            "{states:?}"
        );
    }
    ended(&http, &first).await;
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}
