//! The waits of the CLI: for an answer of the client, and for its next message. No timeout but
//! `inputIdleSeconds` ends them, and they do not stop other executions.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{Client, message, response, stack};
use crate::support::{accept, ended, id, path, send, until};

/// Much longer than the idle timeout of the tests.
const LONG: Duration = Duration::from_millis(1200);

#[tokio::test]
async fn the_idle_timeout_stands_between_turns() {
    let stack = stack(&["--idle-timeout-ms=400", "--stalled-ms=200"]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    for prompt in ["@say one", "@say two"] {
        tokio::time::sleep(LONG).await;
        let status = http.status(&client.id).await.expect("a status");
        assert_eq!(
            (&status["state"], &status["activity"], &status["stalled"]),
            (&json!("running"), &json!("waiting: input"), &json!(false)),
            "{status}"
        );
        client.send(&message(prompt)).await;
        client.until("idle").await;
    }
    // Within a turn it counts.
    client.send(&message("@silence 60")).await;
    let end = ended(&http, &client.id).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("timed_out"), &json!("idle_timeout")),
        "{end}"
    );
    stack.assert_nothing_left(&client.id).await;
}

#[tokio::test]
async fn an_open_request_of_each_kind_stops_the_idle_timeout() {
    let stack = stack(&["--idle-timeout-ms=400", "--stalled-ms=200"]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    for call in [
        "@ask Bash {\"command\":\"x\"}",
        "@hook Stop {}",
        "@mcp calc {}",
    ] {
        client.send(&message(call)).await;
        let asked = client.until("control_request").await;
        tokio::time::sleep(LONG).await;
        let status = http.status(&client.id).await.expect("a status");
        assert_eq!(
            (&status["state"], &status["stalled"]),
            (&json!("running"), &json!(false)),
            "{status}"
        );
        client
            .send(&response(
                &asked,
                json!({"behavior": "deny", "message": "no"}),
            ))
            .await;
        client.until("idle").await;
    }
    client.end().await;
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}

#[tokio::test]
async fn an_execution_that_waits_for_input_leaves_its_permit() {
    let stack = stack(&["--running-executions=1"]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@say one")).await;
    client.until("idle").await;
    let other = id();
    accept(&http, &other, "@say works", json!({})).await;
    assert_eq!(ended(&http, &other).await["state"], "completed");
    // It continues at once, even while another execution has the only permit.
    let busy = id();
    accept(&http, &busy, "@tool 60", json!({})).await;
    until(&http, &busy, "running", |status| {
        status["state"] == "running"
    })
    .await;
    client.send(&message("@say two")).await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
    send(&http, Method::POST, &path(&busy, "/cancel"), "").await;
    ended(&http, &busy).await;
}

#[tokio::test]
async fn an_execution_that_waits_for_a_permission_leaves_its_permit() {
    let stack = stack(&["--running-executions=1"]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@ask Bash {\"command\":\"x\"}")).await;
    let asked = client.until("control_request").await;
    let other = id();
    accept(&http, &other, "@say works", json!({})).await;
    assert_eq!(ended(&http, &other).await["state"], "completed");
    client
        .send(&response(&asked, json!({"behavior": "allow"})))
        .await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}

#[tokio::test]
async fn sixteen_idle_clients_do_not_stop_the_service() {
    let stack = stack(&["--running-executions=2"]).await;
    let http = stack.http();
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = Client::start(&http, json!({})).await;
        client.send(&message("@say one")).await;
        client.until("idle").await;
        clients.push(client);
    }
    for _ in 0..3 {
        let execution = id();
        accept(&http, &execution, "@say works", json!({})).await;
        assert_eq!(ended(&http, &execution).await["state"], "completed");
    }
    for client in &mut clients {
        client.send(&message("@say two")).await;
        client.until("idle").await;
        client.end().await;
        assert_eq!(ended(&http, &client.id).await["state"], "completed");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn the_execution_ends_as_its_last_result_says_when_no_message_comes() {
    let stack = stack(&[]).await;
    let http = stack.http();
    for (prompt, state, reason) in [
        ("@say x", "completed", json!(null)),
        ("@say x\n@result error", "failed", json!("cli_error")),
    ] {
        let more = json!({"inputIdleSeconds": 0.6, "prompt": prompt});
        let client = Client::start(&http, more).await;
        let began = Instant::now();
        let end = ended(&http, &client.id).await;
        assert_eq!(
            (&end["state"], &end["reason"]),
            (&json!(state), &reason),
            "{end}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        stack.assert_nothing_left(&client.id).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_message_starts_the_wait_for_the_next_one_again() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({"inputIdleSeconds": 1.5})).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        client.send(&message("@silence 0.1\n@say x")).await;
        client.until("idle").await;
    }
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
    assert_eq!(client.text().await, "xxx");
}

#[tokio::test]
async fn a_pause_between_turns_stops_the_wait_for_a_message() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({"inputIdleSeconds": 1.5})).await;
    client.send(&message("@say one")).await;
    client.until("idle").await;
    send(&http, Method::POST, &path(&client.id, "/pause"), "").await;
    until(&http, &client.id, "paused", |status| {
        status["state"] == "paused"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2000)).await;
    let status = http.status(&client.id).await.expect("a status");
    assert_eq!(status["state"], "paused", "{status}");
    client.send(&message("@say two")).await;
    send(&http, Method::POST, &path(&client.id, "/resume"), "").await;
    client.until("idle").await;
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
    assert_eq!(client.text().await, "onetwo");
}

#[tokio::test]
async fn an_answer_to_a_paused_execution_takes_effect_on_resume() {
    let stack = stack(&["--idle-timeout-ms=400", "--stalled-ms=200"]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@ask Bash {\"command\":\"x\"}")).await;
    let asked = client.until("control_request").await;
    send(&http, Method::POST, &path(&client.id, "/pause"), "").await;
    until(&http, &client.id, "paused", |status| {
        status["state"] == "paused"
    })
    .await;
    tokio::time::sleep(LONG).await;
    client
        .send(&response(
            &asked,
            json!({"behavior": "deny", "message": "no"}),
        ))
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = http.status(&client.id).await.expect("a status");
    assert_eq!(status["state"], "paused", "{status}");
    send(&http, Method::POST, &path(&client.id, "/resume"), "").await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "denied no\n");
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}
