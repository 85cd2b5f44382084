//! N1: a pause is a state of the execution, not of the session that asked for it.

use std::time::{Duration, Instant};

use cc_tests::{
    harness::{Stack, StackOptions, eventually, processes},
    http::Http,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, exists, id, path, send, until};

/// Passes a control on; the status that it is answered with.
async fn control(http: &Http, id: &str, what: &str) -> Value {
    let (code, _, status) = send(http, Method::POST, &path(id, &format!("/{what}")), "").await;
    assert_eq!(code, 200, "{what}: {status}");
    status
}

/// An execution that does this beside a tree of so many processes.
async fn with_tree(http: &Http, id: &str, processes: usize, busy: &str) {
    let prompt = format!("@tree {processes}\n{busy}");
    accept(http, id, &prompt, json!({})).await;
    eventually("the tree", PATIENCE, || {
        (processes::marked(id).len() > processes).then_some(())
    })
    .await;
}

/// Waits until the status says so, and each process of the execution stands, or none.
async fn settled(http: &Http, id: &str, state: &str) {
    let stands = state == "paused";
    eventually(state, PATIENCE, || {
        let tree = processes::marked(id);
        let all = tree.iter().all(|process| (process.state == 'T') == stands);
        (all && !tree.is_empty()).then_some(())
    })
    .await;
    until(http, id, state, |status| status["state"] == state).await;
}

#[tokio::test]
async fn n1_a_paused_one_is_cancelled_by_who_comes_after_a_crash_of_the_bridge() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    // The tree is there once it counts.
    let count = stack.path("tmp").join("count");
    let prompt = format!("@say a\n@tree 3 {}\n@tool 60", count.display());
    let id = client.start(&prompt).await;
    exists(&count).await;
    client.control("PAUSE", Some(&id)).await.expect("accepted");
    client.wait_status(&id, "PAUSED").await;
    client.vanish();
    stack.crash_bridges().await;
    // It outlives the bridge as it is: all of it stands.
    let tree = processes::marked(&id);
    assert!(
        tree.len() > 3 && tree.iter().all(|process| process.state == 'T'),
        "{tree:#?}"
    );
    let mut late = stack.client().await;
    let seen = late.attach(&id, None).await.expect("attached");
    assert_eq!(seen["state"], "paused", "{seen}");
    late.wait_status(&id, "PAUSED").await;
    // Without an id: the one that this session looks at.
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
async fn a_pause_right_behind_a_resume_is_kept_and_the_other_way_round() {
    let stack = Stack::start().await;
    let (http, id) = (stack.http(), id());
    // So many take the runner a while: the next control comes meanwhile.
    with_tree(&http, &id, 200, "@tool 120").await;
    for _ in 0..3 {
        control(&http, &id, "pause").await;
        settled(&http, &id, "paused").await;
        control(&http, &id, "resume").await;
        control(&http, &id, "pause").await;
        settled(&http, &id, "paused").await;
        control(&http, &id, "resume").await;
        settled(&http, &id, "running").await;
        control(&http, &id, "pause").await;
        control(&http, &id, "resume").await;
        settled(&http, &id, "running").await;
    }
    control(&http, &id, "cancel").await;
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}

/// How long the answers to pauses take, with a tree of 500 beside a CLI that does this: the median.
async fn pauses(stack: &Stack, busy: &str) -> Duration {
    let (http, id) = (stack.http(), id());
    with_tree(&http, &id, 500, busy).await;
    let mut took = Vec::new();
    for _ in 0..9 {
        // In the midst of looks at the CPU time, if there are any.
        tokio::time::sleep(Duration::from_millis(40)).await;
        let begun = Instant::now();
        control(&http, &id, "pause").await;
        took.push(begun.elapsed());
        settled(&http, &id, "paused").await;
        control(&http, &id, "resume").await;
        settled(&http, &id, "running").await;
    }
    control(&http, &id, "cancel").await;
    stack.assert_nothing_left(&id).await;
    took.sort();
    took[took.len() / 2]
}

#[tokio::test]
async fn looks_at_the_cpu_time_of_many_do_not_hold_a_pause_up() {
    // A silence has the CPU time looked at, here all the time; a tool that runs has not.
    let options = StackOptions::default()
        .api("--stalled-ms=80")
        .api("--idle-timeout-ms=600000");
    let stack = Stack::with(options).await;
    let without = pauses(&stack, "@tool 120").await;
    let with = pauses(&stack, "@silence 120").await;
    println!("pause of 500: {without:?}, beside looks at their CPU time {with:?}");
    assert!(
        with < 2 * without + Duration::from_millis(10),
        "{with:?}, without looks {without:?}"
    );
    stack.assert_quiet();
}
