//! The part of the queue that one principal may use, and what `queue-full` says to whom.

use cc_tests::harness::StackOptions;
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::api::{Api, cancelled, usual_tokens};
use crate::support::{accept, id, path, send};

/// Sends an execution that a full queue must refuse; returns the problem.
async fn refused(http: &Http, lane: Option<&str>) -> Value {
    let body = json!({"prompt": "@say x", "lane": lane}).to_string();
    let answer = send(http, Method::PUT, &path(&id(), ""), body).await;
    super::super::api::assert_kind(&answer, 503, "queue-full");
    assert!(answer.1.contains_key("retry-after"));
    answer.2
}

/// Fills the queue with one waiting execution; returns its id.
async fn wait_in_queue(http: &Http, lane: &str) -> String {
    let id = id();
    let status = accept(http, &id, "@say x", json!({"lane": lane})).await;
    assert_eq!(status["state"], "queued", "{status}");
    id
}

/// Asserts that a problem has no number that depends on other principals.
#[track_caller]
fn assert_tells_nothing(problem: &Value) {
    assert_eq!(problem.get("length"), None, "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(!detail.contains(|c: char| c.is_ascii_digit()), "{problem}");
}

#[tokio::test]
async fn a_full_queue_tells_each_principal_its_own_length_alone_also_after_a_kill() {
    let options = StackOptions::default()
        .api("--running-executions=1")
        .api("--queued=5")
        .api("--queued-per-principal=3")
        .api("--queued-per-lane=2");
    let mut api = Api::start(usual_tokens(), options).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let (carol, admin) = (api.http("carol"), api.http("admin"));
    let gate = api.begin(&carol, json!({})).await;
    let mut waiting = Vec::new();
    for lane in ["x", "x"] {
        waiting.push(wait_in_queue(&alice, lane).await);
    }
    let problem = refused(&alice, Some("x")).await;
    assert_eq!(problem["length"], 2, "the lane: {problem}");
    // The same lane of another principal has room.
    let bobs = wait_in_queue(&bob, "x").await;
    waiting.push(wait_in_queue(&alice, "y").await);
    for lane in [None, Some("z")] {
        let problem = refused(&alice, lane).await;
        assert_eq!(problem["length"], 3, "the principal: {problem}");
    }
    let burn = path(&id(), "/cancel?ifUnknown=burn");
    let answer = send(&alice, Method::POST, &burn, "").await;
    super::super::api::assert_kind(&answer, 503, "queue-full");
    let last = wait_in_queue(&bob, "z").await;
    // Five wait, of two principals. Nobody learns how many they are.
    for http in [&bob, &carol, &admin] {
        assert_tells_nothing(&refused(http, None).await);
    }
    api.crash().await;
    // The execution of carol was interrupted, so one of the five runs and ends, and the next.
    drop(gate);
    for (http, id) in [(&bob, &bobs), (&bob, &last)]
        .into_iter()
        .chain(waiting.iter().map(|id| (&alice, id)))
    {
        let end = crate::support::ended(http, id).await;
        assert_eq!(end["state"], "completed", "{end}");
    }
    api.service.assert_quiet();
}

#[tokio::test]
async fn the_part_of_a_principal_is_as_full_after_a_kill_as_before() {
    let options = StackOptions::default()
        .api("--running-executions=1")
        .api("--queued-per-principal=2");
    let mut api = Api::start(usual_tokens(), options).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let mut queue = Vec::new();
    let running = api.begin(&alice, json!({})).await;
    for _ in 0..2 {
        let gate = api.prepare();
        accept(&alice, &gate.id, &gate.prompt, json!({})).await;
        queue.push(gate);
    }
    refused(&alice, None).await;
    api.crash().await;
    // The running one was interrupted; the first of the two runs now, and one slot is free.
    crate::support::exists(&queue[0].mark).await;
    let free = wait_in_queue(&alice, "x").await;
    let problem = refused(&alice, None).await;
    assert_eq!(problem["length"], 2, "{problem}");
    let bobs = wait_in_queue(&bob, "x").await;
    for (http, id) in [
        (&alice, &queue[1].id),
        (&alice, &free),
        (&bob, &bobs),
        (&alice, &queue[0].id),
    ] {
        cancelled(http, id).await;
    }
    drop(running);
    api.service.assert_quiet();
}
