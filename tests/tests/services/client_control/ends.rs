//! The ends of an execution with an open request of its CLI, or between turns.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Client, message, response, stack};
use crate::support::{assert_problem, ended, path, send};

#[tokio::test]
async fn a_cancel_ends_an_execution_with_an_open_request() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client
        .send(&message("@ask Bash {\"command\":\"x\"}\n@say never"))
        .await;
    let asked = client.until("control_request").await;
    send(&http, Method::POST, &path(&client.id, "/cancel"), "").await;
    let end = ended(&http, &client.id).await;
    assert_eq!(
        (&end["state"], &end["activity"]),
        (&json!("cancelled"), &json!(null)),
        "{end}"
    );
    let late = client
        .offer(&response(&asked, json!({"behavior": "allow"})))
        .await;
    assert_problem(&late, 409, "wrong-state", "an answer after the end");
    stack.assert_nothing_left(&client.id).await;
    stack.assert_quiet();
}

#[tokio::test]
async fn a_cancel_between_turns_ends_the_execution() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@say x")).await;
    client.until("idle").await;
    send(&http, Method::POST, &path(&client.id, "/cancel"), "").await;
    assert_eq!(ended(&http, &client.id).await["state"], "cancelled");
    stack.assert_nothing_left(&client.id).await;
}

#[tokio::test]
async fn the_deadline_counts_while_the_cli_waits() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let client = Client::start(&http, json!({"deadlineSeconds": 1})).await;
    let end = ended(&http, &client.id).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("timed_out"), &json!("deadline")),
        "{end}"
    );
}

#[tokio::test]
async fn an_execution_without_a_message_ends_at_the_end_of_its_input() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let client = Client::start(&http, json!({})).await;
    client.end().await;
    let end = ended(&http, &client.id).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("failed"), &json!("no_result")),
        "{end}"
    );
    stack.assert_nothing_left(&client.id).await;
}

#[tokio::test]
async fn the_end_of_the_input_fails_an_open_request() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@hook Stop {}\n@say after")).await;
    client.until("control_request").await;
    client.end().await;
    assert_eq!(client.text().await, "hook failed stdin is closed\nafter");
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}

#[tokio::test]
async fn the_death_of_claude_api_interrupts_the_execution() {
    let mut stack = stack(&[]).await;
    let http = stack.http();
    let mut prompting = Client::start(&http, json!({})).await;
    prompting
        .send(&message("@ask Bash {\"command\":\"x\"}"))
        .await;
    let asked = prompting.until("control_request").await;
    let mut idle = Client::start(&http, json!({})).await;
    idle.send(&message("@say x")).await;
    idle.until("idle").await;
    stack.crash_api().await;
    for client in [&mut prompting, &mut idle] {
        client.http = stack.http();
        let end = ended(&client.http, &client.id).await;
        assert_eq!(end["state"], "interrupted", "{end}");
        let late = client
            .offer(&response(&asked, json!({"behavior": "allow"})))
            .await;
        assert_problem(&late, 409, "wrong-state", "an answer after the death");
        stack.assert_nothing_left(&client.id).await;
    }
}

#[tokio::test]
async fn a_stop_of_claude_api_ends_executions_that_wait() {
    let mut stack = stack(&["--kill-ms=500", "--shutdown-ms=1000"]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@hook Stop {}")).await;
    client.until("control_request").await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), stack.api.stop()).await;
    stopped.expect("claude-api stops");
    stack.api.start_again().await;
    let end = ended(&stack.http(), &client.id).await;
    assert_eq!(end["state"], "interrupted", "{end}");
    stack.assert_nothing_left(&client.id).await;
}
