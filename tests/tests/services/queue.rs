//! The queue: its limits, and controls of queued executions (S11, A5).

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{accept, assert_problem, ended, exists, id, path, send};

pub(crate) async fn cancel(stack: &Stack, id: &str) -> Value {
    let (code, _, status) = send(&stack.http(), Method::POST, &path(id, "/cancel"), "").await;
    assert_eq!(code, 200, "{status}");
    status
}

#[tokio::test]
async fn cancel_of_a_queued_execution_spawns_nothing_and_pause_is_refused() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let mark = stack.path("tmp").join("running");
    let first = client
        .start(&format!("@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    let second = client.start("@say second").await;
    let third = client.start("@say third").await;
    let mut positions = Vec::new();
    for id in [&second, &third] {
        let status = client
            .call("status", json!({"executionId": id}))
            .await
            .expect("a status");
        assert_eq!(status["state"], "queued", "{status}");
        positions.push(status["queuePosition"].as_u64().expect("a position"));
    }
    assert_eq!(positions[1], positions[0] + 1, "{positions:?}");
    let error = client
        .control("PAUSE", Some(&second))
        .await
        .expect_err("wrong state");
    assert_eq!(
        (&error["code"], &error["data"]["state"]),
        (&json!(-32008), &json!("queued")),
        "{error}"
    );
    let answer = send(&stack.http(), Method::POST, &path(&second, "/pause"), "").await;
    assert_problem(&answer, 409, "wrong-state", "pause of a queued execution");
    let answer = send(&stack.http(), Method::DELETE, &path(&second, ""), "").await;
    assert_problem(&answer, 409, "wrong-state", "delete of a queued execution");
    let answer = client
        .control("CANCEL", Some(&second))
        .await
        .expect("accepted");
    assert_eq!(answer["state"], "cancelled", "{answer}");
    let (output, end) = client.wait_terminal(&second).await;
    assert_eq!(
        (&end["status"], &end["exitCode"], &end["startedAt"]),
        (&json!("CANCELLED"), &Value::Null, &Value::Null),
        "{end}"
    );
    assert!(output.is_empty());
    let fourth = client.start("@say fourth").await;
    assert_eq!(cancel(&stack, &fourth).await["state"], "cancelled");
    client.wait_terminal(&fourth).await;
    // Without an id, the control is for the oldest execution that is not terminal.
    let status = client.control("CANCEL", None).await.expect("accepted");
    assert_eq!(status["executionId"], *first);
    assert_eq!(client.wait_terminal(&third).await.0, b"third");
    client.wait_terminal(&first).await;
    assert_eq!(
        (
            stack.spawns(&first),
            stack.spawns(&second),
            stack.spawns(&third)
        ),
        (1, 0, 1)
    );
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a5_a_full_queue_refuses_an_execution_and_records_nothing() {
    let stack = Stack::with(
        StackOptions::default()
            .api("--running-executions=1")
            .api("--queued=2"),
    )
    .await;
    let http = stack.http();
    let mark = stack.path("tmp").join("running");
    let ids = [id(), id(), id()];
    accept(
        &http,
        &ids[0],
        &format!("@touch {}\n@tool 60", mark.display()),
        json!({}),
    )
    .await;
    exists(&mark).await;
    accept(&http, &ids[1], "@say 1", json!({"lane": "a"})).await;
    accept(&http, &ids[2], "@say 2", json!({"lane": "b"})).await;
    let refused = id();
    let body = json!({"prompt": "@say x"}).to_string();
    let answer = send(&http, Method::PUT, &path(&refused, ""), body.clone()).await;
    assert_problem(&answer, 503, "queue-full", "a third queued execution");
    assert_eq!(answer.2["length"], 2);
    let after = answer
        .1
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .expect("Retry-After");
    assert!(after.parse::<u64>().is_ok(), "{after}");
    let answer = send(&http, Method::GET, &path(&refused, ""), "").await;
    assert_problem(&answer, 404, "not-found", "nothing is recorded");
    // A retry of an accepted execution is no new execution.
    accept(&http, &ids[2], "@say 2", json!({"lane": "b"})).await;
    let mut client = stack.client().await;
    let error = client
        .call(
            "execute",
            json!({"prompt": "@say x", "executionId": refused}),
        )
        .await
        .expect_err("full");
    assert_eq!(
        (&error["code"], &error["data"]["length"]),
        (&json!(-32004), &json!(2)),
        "{error}"
    );
    assert_eq!(error["data"]["executionId"], *refused);
    assert_eq!(
        http.get("/health/ready")
            .await
            .expect("an answer")
            .0
            .as_u16(),
        200,
        "a full queue is not unready"
    );
    cancel(&stack, &ids[0]).await;
    for id in &ids {
        ended(&http, id).await;
    }
    assert_eq!(
        client
            .execute("@say x", json!({"executionId": refused}))
            .await["executionId"],
        *refused
    );
    assert_eq!(client.wait_terminal(&refused).await.0, b"x");
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a5_one_lane_cannot_fill_the_queue() {
    let stack = Stack::with(StackOptions::default().api("--queued-per-lane=2")).await;
    let mut greedy = stack.client().await;
    let mark = stack.path("tmp").join("running");
    let first = greedy
        .start(&format!("@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    let waiting = [greedy.start("@say 1").await, greedy.start("@say 2").await];
    let error = greedy
        .call("execute", json!({"prompt": "@say 3"}))
        .await
        .expect_err("full");
    assert_eq!(error["code"], -32004, "{error}");
    let mut other = stack.client().await;
    assert_eq!(other.run("@say untouched").await.0, b"untouched");
    // A lane in the request overrides the session's lane: the execution waits for no other there.
    let status = other.execute("@say mine", json!({"lane": "another"})).await;
    assert_eq!(status["lane"], "another");
    other
        .wait_terminal(status["executionId"].as_str().expect("an id"))
        .await;
    other.finish().await;
    greedy
        .control("CANCEL", Some(&first))
        .await
        .expect("accepted");
    for id in waiting.iter().chain([&first]) {
        greedy.wait_terminal(id).await;
    }
    greedy.finish().await;
    stack.assert_quiet();
}
