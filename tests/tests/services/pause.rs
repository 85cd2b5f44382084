//! N1: a pause is a state of the execution, not of the session that requested it.

use std::time::{Duration, Instant};

use cc_tests::{
    harness::{Stack, StackOptions, eventually, processes},
    http::Http,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, exists, id, path, send, until};

/// Sends a control; returns the status in the answer.
async fn control(http: &Http, id: &str, verb: &str) -> Value {
    let (code, _, status) = send(http, Method::POST, &path(id, &format!("/{verb}")), "").await;
    assert_eq!(code, 200, "{verb}: {status}");
    status
}

/// Accepts an execution with a tree of so many processes, beside which the CLI follows `busy`.
async fn with_tree(http: &Http, id: &str, processes: usize, busy: &str) {
    let prompt = format!("@tree {processes}\n{busy}");
    accept(http, id, &prompt, json!({})).await;
    eventually("the tree", PATIENCE, || {
        (processes::marked(id).len() > processes).then_some(())
    })
    .await;
}

/// Waits until the status has this state, and all processes of the execution are stopped, or none.
async fn wait_for_state(http: &Http, id: &str, state: &str) {
    let stopped = state == "paused";
    eventually(state, PATIENCE, || {
        let tree = processes::marked(id);
        let all = tree.iter().all(|process| (process.state == 'T') == stopped);
        (all && !tree.is_empty()).then_some(())
    })
    .await;
    until(http, id, state, |status| status["state"] == state).await;
}

#[tokio::test]
async fn n1_a_new_session_cancels_a_paused_execution_after_a_crash_of_the_bridge() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    // The tree runs once it counts.
    let count = stack.path("tmp").join("count");
    let prompt = format!("@say a\n@tree 3 {}\n@tool 60", count.display());
    let id = client.start(&prompt).await;
    exists(&count).await;
    client.control("PAUSE", Some(&id)).await.expect("accepted");
    client.wait_status(&id, "PAUSED").await;
    client.vanish();
    stack.crash_bridges().await;
    // The execution outlives the bridge, and all its processes stay stopped.
    let tree = processes::marked(&id);
    assert!(
        tree.len() > 3 && tree.iter().all(|process| process.state == 'T'),
        "{tree:#?}"
    );
    let mut late = stack.client().await;
    let seen = late.attach(&id, None).await.expect("attached");
    assert_eq!(seen["state"], "paused", "{seen}");
    late.wait_status(&id, "PAUSED").await;
    // Without an id, the control is for the execution that this session views.
    late.control("CANCEL", None).await.expect("accepted");
    let (output, end) = late.wait_terminal(&id).await;
    assert_eq!(
        (&end["status"], output.as_slice()),
        (&json!("CANCELLED"), &b"a"[..]),
        "{end}"
    );
    stack.assert_nothing_left(&id).await;
    late.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_pause_right_after_a_resume_takes_effect_and_a_resume_right_after_a_pause() {
    let stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    // A tree of 200 takes the runner a while: the next control arrives meanwhile.
    with_tree(&http, &id, 200, "@tool 120").await;
    for _ in 0..3 {
        control(&http, &id, "pause").await;
        wait_for_state(&http, &id, "paused").await;
        control(&http, &id, "resume").await;
        control(&http, &id, "pause").await;
        wait_for_state(&http, &id, "paused").await;
        control(&http, &id, "resume").await;
        wait_for_state(&http, &id, "running").await;
        control(&http, &id, "pause").await;
        control(&http, &id, "resume").await;
        wait_for_state(&http, &id, "running").await;
    }
    control(&http, &id, "cancel").await;
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

/// Returns the median time of the answers to pauses, with a tree of 500 beside a CLI that follows
/// `busy`.
async fn median_pause(stack: &Stack, busy: &str) -> Duration {
    let (http, id) = (stack.http(), id());
    with_tree(&http, &id, 500, busy).await;
    let mut took = Vec::new();
    for _ in 0..9 {
        // In the middle of the checks of the CPU time, if there are any.
        tokio::time::sleep(Duration::from_millis(40)).await;
        let begun = Instant::now();
        control(&http, &id, "pause").await;
        took.push(begun.elapsed());
        wait_for_state(&http, &id, "paused").await;
        control(&http, &id, "resume").await;
        wait_for_state(&http, &id, "running").await;
    }
    control(&http, &id, "cancel").await;
    stack.assert_nothing_left(&id).await;
    took.sort();
    took[took.len() / 2]
}

#[tokio::test]
async fn checks_of_the_cpu_time_of_many_processes_do_not_delay_a_pause() {
    // The CPU time is checked during a silence, here all the time, and not during a tool's run.
    let options = StackOptions::default()
        .api("--stalled-ms=80")
        .api("--idle-timeout-ms=600000");
    let stack = Stack::with(options).await;
    let without = median_pause(&stack, "@tool 120").await;
    let with = median_pause(&stack, "@silence 120").await;
    println!("pause of 500: {without:?}, during checks of their CPU time {with:?}");
    assert!(
        with < 2 * without + Duration::from_millis(10),
        "{with:?}, without checks {without:?}"
    );
    stack.assert_quiet();
}
