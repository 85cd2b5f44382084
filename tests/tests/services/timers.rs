//! F3 and F4: silence ends an execution, work of any kind does not, and a pause stops the clock.

use std::time::{Duration, Instant};

use cc_tests::harness::{Stack, StackOptions, eventually};
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, ended, id, path, until};

/// Returns options with short limits of silence.
fn scaled() -> StackOptions {
    StackOptions::default()
        .api("--stalled-ms=1000")
        .api("--idle-timeout-ms=2000")
        .api("--kill-ms=500")
}

/// Runs an execution to its end; returns all statuses that a follower gets.
async fn follow_run(stack: &Stack, prompt: &str, extra: Value) -> Vec<Value> {
    let (http, id) = (stack.http(), id());
    accept(&http, &id, prompt, extra).await;
    let seen = tokio::time::timeout(PATIENCE, http.follow_to_end(&id)).await;
    let seen = seen.expect("an end in time").expect("a stream of statuses");
    stack.assert_nothing_left(&id).await;
    seen
}

fn milliseconds(status: &Value) -> u64 {
    status["durationMs"].as_u64().expect("a duration")
}

#[tokio::test]
async fn f3_a_silent_execution_is_stalled_and_then_timed_out() {
    let stack = Stack::with(scaled()).await;
    let mut client = stack.client().await;
    let id = client.start("@say so far\n@silence 60").await;
    let notice = client.wait_notice("stalled").await;
    assert_eq!(notice["executionId"], *id);
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("TIMED_OUT"), &json!("idle_timeout")),
        "{end}"
    );
    assert_eq!(output, b"so far");
    let took = milliseconds(&end);
    assert!((2000..6000).contains(&took), "{took} ms");
    stack.assert_nothing_left(&id).await;
    client.finish().await;
    let seen = follow_run(&stack, "@silence 60", json!({})).await;
    let running = seen.iter().filter(|status| status["state"] == "running");
    let stalled: Vec<_> = running.map(|status| status["stalled"].clone()).collect();
    assert!(
        stalled.contains(&json!(true)) && stalled.first() == Some(&json!(false)),
        "{stalled:?}"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn f3_a_client_may_set_another_idle_timeout() {
    let stack = Stack::start().await;
    let seen = follow_run(&stack, "@silence 60", json!({"idleTimeoutSeconds": 0.5})).await;
    let end = seen.last().expect("an end");
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("timed_out"), &json!("idle_timeout"))
    );
    assert!((500..5000).contains(&milliseconds(end)), "{end}");
    stack.assert_quiet();
}

#[tokio::test]
async fn f3_f4_work_of_any_kind_is_progress() {
    let stack = Stack::with(scaled()).await;
    // Each takes longer than `idleTimeoutMs` in all: a word every 0.7 s, silences shorter than
    // `stalledMs`, a tool, a busy core.
    let silences = "@say a\n@silence 0.7\n".repeat(5);
    let prompts = [
        "@rate 1.43\n@tokens 5",
        silences.as_str(),
        "@tool 3.2\n@say x",
        "@cpu 3.2\n@say x",
    ];
    for seen in
        futures::future::join_all(prompts.map(|prompt| follow_run(&stack, prompt, json!({})))).await
    {
        let end = seen.last().expect("an end");
        assert_eq!(end["state"], "completed", "{end}");
        assert!(milliseconds(end) > 2000, "{end}");
        assert!(
            seen.iter().all(|status| status["stalled"] == false),
            "{seen:#?}"
        );
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn progress_clears_stalled() {
    let stack = Stack::with(
        StackOptions::default()
            .api("--stalled-ms=300")
            .api("--idle-timeout-ms=20000"),
    )
    .await;
    let prompt = "@say a\n@silence 1\n@rate 20\n@tokens 20";
    let seen = follow_run(&stack, prompt, json!({})).await;
    let last = seen.iter().rposition(|status| status["stalled"] == true);
    let last = last.unwrap_or_else(|| panic!("never stalled: {seen:#?}"));
    assert!(
        seen[last..]
            .iter()
            .any(|status| status["state"] == "running" && status["stalled"] == false),
        "{seen:#?}"
    );
    let end = seen.last().expect("an end");
    assert_eq!(
        (&end["state"], &end["stalled"]),
        (&json!("completed"), &json!(false))
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn a_deadline_ends_a_busy_execution() {
    let stack = Stack::with(scaled()).await;
    let seen = follow_run(
        &stack,
        "@rate 20\n@tokens 100000",
        json!({"deadlineSeconds": 0.8}),
    )
    .await;
    let end = seen.last().expect("an end");
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("timed_out"), &json!("deadline")),
        "{end}"
    );
    assert!((800..4000).contains(&milliseconds(end)), "{end}");
    stack.assert_quiet();
}

#[tokio::test]
async fn n1_a_pause_stops_the_clock_and_late_viewers_see_it() {
    let mut stack = Stack::with(scaled()).await;
    let mut client = stack.client().await;
    let status = client
        .execute("@say a\n@silence 60", json!({"deadlineSeconds": 1.9}))
        .await;
    let id = status["executionId"].as_str().expect("an id").to_owned();
    client.wait_output(&id, 1).await;
    client.control("PAUSE", Some(&id)).await.expect("accepted");
    client.wait_status(&id, "PAUSED").await;
    client.vanish();
    stack.crash_bridges().await;
    let http = stack.http();
    let paused = http.status(&id).await.expect("a status");
    // Longer than the deadline and both limits of silence.
    let begun = Instant::now();
    eventually("time to pass", PATIENCE, || {
        (begun.elapsed() > Duration::from_millis(2300)).then_some(())
    })
    .await;
    let mut late = stack.client().await;
    let seen = late.attach(&id, None).await.expect("attached");
    assert_eq!(
        (&seen["state"], &seen["stalled"]),
        (&json!("paused"), &json!(false)),
        "{seen}"
    );
    assert!(
        milliseconds(&seen) < milliseconds(&paused) + 500,
        "{paused} {seen}"
    );
    late.wait_status(&id, "PAUSED").await;
    late.control("RESUME", Some(&id)).await.expect("accepted");
    late.wait_status(&id, "RESUMED").await;
    let (_, end) = late.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("TIMED_OUT"), &json!("deadline")),
        "{end}"
    );
    assert!((1900..4500).contains(&milliseconds(&end)), "{end}");
    late.finish().await;
}

#[tokio::test]
async fn repeated_and_late_controls_are_answered_and_change_nothing() {
    let stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say a\n@tree 3\n@tool 60", json!({})).await;
    until(&http, &id, "running", |status| status["outputBytes"] == 1).await;
    let control = async |verb: &str| {
        let begun = Instant::now();
        let (code, status) = http
            .call(reqwest::Method::POST, &path(&id, verb), None)
            .await
            .expect("an answer");
        assert_eq!(code.as_u16(), 200, "{verb}: {status}");
        // 100 ms are promised; a debug build on a busy machine gets more.
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{verb} took {:?}",
            begun.elapsed()
        );
        status["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(control("/resume").await, "running");
    control("/pause").await;
    until(&http, &id, "paused", |status| status["state"] == "paused").await;
    assert_eq!(control("/pause").await, "paused");
    control("/resume").await;
    until(&http, &id, "running", |status| status["state"] == "running").await;
    control("/pause").await;
    // A paused execution is cancelled too.
    control("/cancel").await;
    control("/cancel").await;
    let end = ended(&http, &id).await;
    assert_eq!(end["state"], "cancelled", "{end}");
    for verb in ["/pause", "/resume", "/cancel"] {
        assert_eq!(control(verb).await, "cancelled");
    }
    assert_eq!(
        http.status(&id).await.expect("a status")["endedAt"],
        end["endedAt"]
    );
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn f3_retries_of_the_model_api_are_an_activity_and_a_notice() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let go = stack.path("tmp").join("go");
    let prompt = format!("@say a\n@api-retry 2 529\n@wait {}\n@say b", go.display());
    let id = client.start(&prompt).await;
    let notice = client.wait_notice("api_retry").await;
    assert_eq!(
        (&notice["executionId"], &notice["data"]["errorStatus"]),
        (&json!(id), &json!(529)),
        "{notice}"
    );
    let status = stack.http().status(&id).await.expect("a status");
    assert_eq!(
        (&status["state"], &status["activity"]),
        (&json!("running"), &json!("retrying: 529"))
    );
    std::fs::write(&go, "").expect("written");
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], output.as_slice()),
        (&json!("COMPLETED"), &b"ab"[..])
    );
    let updates = client.updates(&id);
    let shown = |activity: &str| updates.iter().any(|update| update["activity"] == activity);
    assert!(shown("retrying: 529"), "{updates:#?}");
    // Two consecutive retries with the same status are one notice.
    let notices = client.notices();
    let retries = notices
        .iter()
        .filter(|notice| notice["code"] == "api_retry");
    assert_eq!(retries.count(), 1, "{notices:#?}");
    client.finish().await;
    stack.assert_quiet();
}
