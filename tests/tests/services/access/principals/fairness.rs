//! The order in which executions of several principals start.

use cc_tests::harness::{StackOptions, Tokens};
use cc_tests::http::Http;
use serde_json::json;

use super::super::api::{Api, cancelled, usual_tokens};
use crate::support::{accept, ended, exists, until};

/// How many executions the greedy principal has in the queue.
const GREEDY: usize = 50;

/// I7: no client takes another's part of the queue. The greedy principal holds all permits and has
/// many executions in the queue. The first one of another principal gets the next free permit.
async fn the_next_permit_goes_to_the_other(permits: usize) {
    let options = StackOptions::default().api(format!("--running-executions={permits}"));
    // Without this, two principals have half of the permits each.
    let running = format!("running = {permits}");
    let tokens = usual_tokens().changed(
        "alice",
        "control",
        &["principal = \"team-a\"", running.as_str()],
    );
    let api = Api::start(tokens, options).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let mut running = Vec::new();
    for _ in 0..permits {
        running.push(api.begin(&alice, json!({})).await);
    }
    let mut queue = Vec::new();
    for _ in 0..GREEDY {
        let gate = api.prepare();
        accept(&alice, &gate.id, &gate.prompt, json!({})).await;
        queue.push(gate);
    }
    let other = api.prepare();
    accept(&bob, &other.id, &other.prompt, json!({})).await;
    running[0].open();
    assert_eq!(ended(&alice, &running[0].id).await["state"], "completed");
    let next = cc_tests::harness::eventually("the next start", super::super::api::WAIT, || {
        let greedy = queue.iter().find(|gate| gate.has_begun());
        let next = if other.has_begun() {
            Some(&other)
        } else {
            greedy
        };
        next.map(|gate| gate.id.clone())
    })
    .await;
    assert_eq!(
        next, other.id,
        "{permits} permits: one of {GREEDY} earlier ones started first"
    );
    other.open();
    ended(&bob, &other.id).await;
    for gate in queue.iter().rev().chain(&running[1..]) {
        cancelled(&alice, &gate.id).await;
    }
    api.service.assert_quiet();
}

#[tokio::test]
async fn the_next_of_several_permits_goes_to_the_principal_that_runs_fewest() {
    the_next_permit_goes_to_the_other(2).await;
}

#[tokio::test]
async fn the_only_permit_goes_to_the_principals_in_turn() {
    the_next_permit_goes_to_the_other(1).await;
}

fn with_limit() -> Tokens {
    usual_tokens().changed(
        "alice",
        "control",
        &["principal = \"team-a\"", "running = 1"],
    )
}

/// Returns whether an execution of `bob` runs from its start to its end.
async fn bob_works(api: &Api, bob: &Http) {
    let gate = api.begin(bob, json!({})).await;
    gate.open();
    assert_eq!(ended(bob, &gate.id).await["state"], "completed");
}

#[tokio::test]
async fn a_principal_with_running_1_waits_while_another_runs_also_after_a_kill() {
    let mut api = Api::start(with_limit(), StackOptions::default()).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let first = api.begin(&alice, json!({})).await;
    let (second, third) = (api.prepare(), api.prepare());
    for gate in [&second, &third] {
        accept(&alice, &gate.id, &gate.prompt, json!({})).await;
    }
    bob_works(&api, &bob).await;
    assert!(
        !second.has_begun(),
        "two of a principal with running = 1 run"
    );
    api.crash().await;
    // The first was interrupted. One of the two others runs, and not both.
    exists(&second.mark).await;
    bob_works(&api, &bob).await;
    assert!(!third.has_begun(), "after the kill, two run");
    let status = alice.status(&third.id).await.expect("a status");
    assert_eq!(
        (&status["state"], &status["queuePosition"]),
        (&json!("queued"), &json!(0))
    );
    second.open();
    ended(&alice, &second.id).await;
    exists(&third.mark).await;
    // A higher limit is in force without a restart.
    let fourth = api.prepare();
    accept(&alice, &fourth.id, &fourth.prompt, json!({})).await;
    bob_works(&api, &bob).await;
    assert!(!fourth.has_begun());
    api.replace_tokens(usual_tokens_like(&api));
    exists(&fourth.mark).await;
    for gate in [&third, &fourth] {
        gate.open();
        ended(&alice, &gate.id).await;
    }
    until(&alice, &first.id, "interrupted", |s| {
        s["state"] == "interrupted"
    })
    .await;
    api.service.assert_quiet();
}

/// Returns the same tokens with a limit of 2 for `alice`.
fn usual_tokens_like(api: &Api) -> Tokens {
    let fields = ["principal = \"team-a\"", "running = 2"];
    api.tokens.changed("alice", "control", &fields)
}
