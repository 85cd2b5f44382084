//! Questions: what a view announces, and answers. The client of the tests checks the order of the
//! messages of each view.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::time::Duration;

use common::{Bridge, Client, Fake};
use protocol::question::ClosedBy;
use protocol::{ExecutionId, State};
use serde_json::{Value, json};
use uuid::Uuid;

/// Starts a bridge, and a running execution.
async fn running() -> (Fake, Bridge, ExecutionId) {
    let fake = Fake::start().await;
    let id = fake.add(State::Running, b"");
    let bridge = Bridge::start(fake.addr, &[]).await;
    (fake, bridge, id)
}

/// Opens a session that views an execution.
async fn viewer(bridge: &Bridge, id: ExecutionId) -> Client {
    let mut client = bridge.connect().await;
    client.attach(id, None).await.unwrap();
    client
}

fn ids(questions: &[Value]) -> Vec<Uuid> {
    let id = |question: &Value| question["questionId"].as_str().unwrap().parse().unwrap();
    questions.iter().map(id).collect()
}

fn named(question: Uuid) -> Value {
    json!({ "questionId": question })
}

fn answer(id: ExecutionId, question: Uuid, decision: &str) -> Value {
    json!({"executionId": id, "questionId": question, "decision": decision})
}

#[tokio::test]
async fn a_question_reaches_each_viewer_and_so_does_its_end() {
    let (fake, bridge, id) = running().await;
    let mut early = viewer(&bridge, id).await;
    let question = fake.ask(id, 10);
    assert_eq!(ids(&early.wait_questions(id, 1).await), [question]);
    let late = viewer(&bridge, id).await;
    assert_eq!(ids(&late.wait_questions(id, 1).await), [question]);
    let answered = early.call("answer", answer(id, question, "deny")).await;
    assert_eq!(
        answered.unwrap(),
        json!({"questionId": question, "decision": "deny", "principal": null})
    );
    for client in [&early, &late] {
        let closed = client.wait_closed_question(id, &named(question)).await;
        assert_eq!(
            (&closed["closedBy"], &closed["decision"]),
            (&json!("answer"), &json!("deny"))
        );
    }
    fake.end(id, State::Completed);
    for client in [early, late] {
        client.wait_terminal(id).await;
        client.finish().await;
    }
}

#[tokio::test]
async fn a_view_closes_its_questions_before_the_terminal_status() {
    let (fake, bridge, id) = running().await;
    let client = viewer(&bridge, id).await;
    let questions: Vec<_> = (0..5).map(|_| fake.ask(id, 10)).collect();
    assert_eq!(ids(&client.wait_questions(id, 5).await), questions);
    // The list has only 2 closed ones, so the others are requested.
    fake.end(id, State::Cancelled);
    client.wait_terminal(id).await;
    let closed = client.closed_questions(id);
    assert_eq!(closed.len(), 5);
    assert!(closed.iter().all(|closed| closed["closedBy"] == "end"));
    client.finish().await;
}

#[tokio::test]
async fn a_view_of_an_ended_execution_announces_no_question() {
    let (fake, bridge, id) = running().await;
    fake.ask(id, 10);
    fake.end(id, State::Completed);
    let client = viewer(&bridge, id).await;
    client.wait_terminal(id).await;
    assert_eq!(client.questions(id).len(), 0);
    assert_eq!(fake.world().question_lists, 0);
    client.finish().await;
}

#[tokio::test]
async fn a_reconnect_to_claude_api_announces_nothing_twice() {
    let (fake, bridge, id) = running().await;
    let client = viewer(&bridge, id).await;
    let first = fake.ask(id, 10);
    client.wait_questions(id, 1).await;
    fake.change(|w| w.down = true);
    client.wait_notice("upstream_unreachable").await;
    // Closed and asked while claude-api cannot be reached.
    fake.close(id, first, ClosedBy::Timeout);
    let second = fake.ask(id, 10);
    fake.change(|w| w.down = false);
    let closed = client.wait_closed_question(id, &named(first)).await;
    assert_eq!(closed["closedBy"], "timeout");
    assert_eq!(ids(&client.wait_questions(id, 2).await), [first, second]);
    fake.end(id, State::Completed);
    client.wait_terminal(id).await;
    assert_eq!(ids(&client.questions(id)), [first, second]);
    client.finish().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_fetched_is_requested_again() {
    let (fake, bridge, id) = running().await;
    fake.change(|w| w.no_questions = true);
    let client = viewer(&bridge, id).await;
    let question = fake.ask(id, 10);
    fake.until(|w| w.question_lists > 2).await;
    assert_eq!(client.questions(id).len(), 0);
    fake.change(|w| w.no_questions = false);
    client.wait_questions(id, 1).await;
    // The view ends only when it knows how the question was closed.
    fake.change(|w| w.no_questions = true);
    fake.end(id, State::Completed);
    client.wait_notice("upstream_unreachable").await;
    assert_eq!(client.closed_questions(id).len(), 0);
    fake.change(|w| w.no_questions = false);
    client.wait_closed_question(id, &named(question)).await;
    client.wait_terminal(id).await;
    client.finish().await;
}

#[tokio::test]
async fn changes_during_a_fetch_cause_one_more_fetch() {
    let (fake, bridge, id) = running().await;
    fake.change(|w| w.stuck_questions = true);
    let client = viewer(&bridge, id).await;
    let mut asked = vec![fake.ask(id, 10)];
    fake.until(|w| w.question_lists == 1).await;
    for _ in 0..4 {
        let seen = client.updates(id).len();
        asked.push(fake.ask(id, 10));
        client.wait_update(id, seen, "RUNNING").await;
    }
    fake.change(|w| w.stuck_questions = false);
    assert_eq!(ids(&client.wait_questions(id, 5).await), asked);
    let lists = fake.world().question_lists;
    assert!(lists <= 2, "{lists}");
    fake.end(id, State::Completed);
    client.wait_terminal(id).await;
    client.finish().await;
}

#[tokio::test]
async fn an_end_before_the_list_arrives_announces_nothing() {
    let (fake, bridge, id) = running().await;
    fake.change(|w| w.stuck_questions = true);
    let client = viewer(&bridge, id).await;
    fake.ask(id, 10);
    fake.until(|w| w.question_lists == 1).await;
    fake.end(id, State::Completed);
    client.wait_terminal(id).await;
    assert_eq!(client.questions(id).len(), 0);
    client.finish().await;
}

#[tokio::test]
async fn a_slow_client_gets_only_open_questions_and_holds_little_memory() {
    let (fake, bridge, id) = running().await;
    let mut client = viewer(&bridge, id).await;
    client.wait_status(id, "RUNNING").await;
    client.read(false);
    // Fills the socket, so that questions wait.
    fake.write(id, "x".repeat(16 << 20).as_bytes());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let questions: Vec<_> = (0..32).map(|_| fake.ask(id, 16_000)).collect();
    fake.until(|w| w.question_lists > 0).await;
    for question in &questions[..31] {
        fake.close(id, *question, ClosedBy::Withdrawn);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.read(true);
    let last = questions[31];
    let is_last = |questions: Vec<Value>| ids(&questions).contains(&last);
    let end = tokio::time::Instant::now() + common::SOON;
    while !is_last(client.questions(id)) {
        assert!(tokio::time::Instant::now() < end, "no question");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let announced = client.questions(id).len();
    assert!(announced <= 2, "{announced} announced");
    client
        .call("answer", answer(id, last, "allow"))
        .await
        .unwrap();
    fake.end(id, State::Completed);
    client.wait_terminal(id).await;
    client.finish().await;
}

#[tokio::test]
async fn an_answer_is_repeated_after_a_broken_connection() {
    let (fake, bridge, id) = running().await;
    let mut client = bridge.connect().await;
    let question = fake.ask(id, 10);
    fake.change(|w| w.cut_answers = 2);
    let answered = client.call("answer", answer(id, question, "allow")).await;
    assert_eq!(answered.unwrap()["decision"], "allow");
    assert_eq!(fake.world().cut_answers, 0);
    client.finish().await;
}

#[tokio::test]
async fn answers_are_refused_with_the_reason() {
    let (fake, bridge, id) = running().await;
    let mut client = bridge.connect().await;
    let question = fake.ask(id, 10);
    client
        .call("answer", answer(id, question, "allow"))
        .await
        .unwrap();
    // The same answer again is fine.
    client
        .call("answer", answer(id, question, "allow"))
        .await
        .unwrap();
    let error = client.call("answer", answer(id, question, "deny")).await;
    let error = error.unwrap_err();
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32008), &json!("wrong_state"))
    );
    assert_eq!(
        (
            &error["data"]["closedBy"],
            &error["data"]["decision"],
            &error["data"]["principal"]
        ),
        (&json!("answer"), &json!("allow"), &Value::Null)
    );
    for (params, code, reason) in [
        (answer(id, Uuid::new_v4(), "deny"), -32003, "not_found"),
        (
            answer(ExecutionId::random(), question, "deny"),
            -32003,
            "not_found",
        ),
        (
            json!({"executionId": id, "decision": "deny"}),
            -32602,
            "invalid_params",
        ),
    ] {
        let error = client.call("answer", params).await.unwrap_err();
        assert_eq!(
            (&error["code"], &error["data"]["reason"]),
            (&json!(code), &json!(reason))
        );
    }
    let mut long = answer(id, question, "deny");
    long["message"] = "x".repeat(2 << 20).into();
    let error = client.call("answer", long).await.unwrap_err();
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32602), &json!("too_large"))
    );
    assert_eq!(error["data"]["limit"], 1 << 20);
    // Members that are not strings have a smaller limit in every request.
    let mut long = answer(id, question, "allow");
    long["updatedInput"] = json!({ "command": "x".repeat(300 << 10) });
    let error = client.call("answer", long).await.unwrap_err();
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32602), &json!("invalid_params"))
    );
    client.finish().await;
}
