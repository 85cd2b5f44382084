//! The ends of questions without an answer: the timeout, a cancel, a pause, an interrupt of the
//! turn, and the death of claude-api.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{answer, ask, list, output, question, stack, start};
use crate::support::{assert_problem, ended, path, send, until};

#[tokio::test]
async fn a_question_that_nobody_answers_is_denied() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({"questionTimeoutSeconds": 0.5})).await;
    let asked = question(&http, &execution).await;
    assert!(asked["expiresAt"].is_string(), "{asked}");
    ended(&http, &execution).await;
    assert!(
        output(&http, &execution)
            .await
            .starts_with("before\n\ndenied Nobody answered")
    );
    let closed = &list(&http, &execution).await["closed"][0];
    assert_eq!(
        (&closed["closedBy"], &closed["decision"]),
        (&json!("timeout"), &json!("deny"))
    );
    let late = answer(&http, &execution, &asked, json!({"decision": "deny"})).await;
    assert_problem(&late, 409, "wrong-state", "a late answer");
}

#[tokio::test]
async fn an_open_question_is_neither_stalled_nor_idle() {
    let stack = stack(&["--stalled-ms=200", "--idle-timeout-ms=400"]).await;
    let http = stack.http();
    let execution = ask(&http, json!({"questionTimeoutSeconds": 1.5})).await;
    let mut updates = http.follow(&execution).await.expect("a stream");
    let mut end = json!(null);
    while let Some(status) = updates.next().await.expect("a status") {
        assert_eq!(status["stalled"], false, "{status}");
        end = status;
    }
    assert_eq!(end["state"], "completed", "{end}");
}

#[tokio::test]
async fn an_execution_that_waits_for_a_person_is_reported_to_its_webhook() {
    let stack = stack(&["--webhook-hosts=hooks.example"]).await;
    let http = stack.http();
    let webhook = json!({"url": "https://hooks.example/", "events": ["question"]});
    let execution = ask(&http, json!({"webhook": webhook})).await;
    let open = question(&http, &execution).await;
    let status = until(&http, &execution, "reported", |status| {
        status["webhook"]["pending"] == 1
    })
    .await;
    assert_eq!(status["webhook"]["events"], json!(["question"]), "{status}");
    answer(&http, &execution, &open, json!({"decision": "allow"})).await;
    let end = ended(&http, &execution).await;
    assert_eq!(end["webhook"]["pending"], 1, "it is reported once: {end}");
}

#[tokio::test]
async fn a_cancel_closes_the_question_and_ends_the_cli() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({})).await;
    let asked = question(&http, &execution).await;
    send(&http, Method::POST, &path(&execution, "/cancel"), "").await;
    let end = ended(&http, &execution).await;
    assert_eq!(
        (&end["state"], &end["questionsOpen"]),
        (&json!("cancelled"), &json!(0))
    );
    let late = answer(&http, &execution, &asked, json!({"decision": "allow"})).await;
    assert_problem(&late, 409, "wrong-state", "an answer after the end");
    assert_eq!(late.2["closedBy"], "end");
    stack.assert_nothing_left(&execution).await;
}

/// A tool must not be allowed any more while the processes of a cancelled execution still end.
#[tokio::test]
async fn a_cancel_closes_the_question_before_a_cli_that_ignores_it_is_gone() {
    let stack = stack(&["--kill-ms=5000"]).await;
    let http = stack.http();
    let prompt = "@ignore-term\n@ask Bash {\"command\":\"rm x\"}\n@say after";
    let execution = start(&http, prompt, json!({})).await;
    let open = question(&http, &execution).await;
    send(&http, Method::POST, &path(&execution, "/cancel"), "").await;
    let status = until(&http, &execution, "closed", |status| {
        status["questionsOpen"] == 0
    })
    .await;
    assert_eq!(status["state"], "running", "the CLI ignores the signal");
    let late = answer(&http, &execution, &open, json!({"decision": "allow"})).await;
    assert_problem(&late, 409, "wrong-state", "an answer after the cancel");
    assert_eq!(late.2["closedBy"], "end");
    assert_eq!(ended(&http, &execution).await["state"], "cancelled");
}

#[tokio::test]
async fn an_answer_to_a_paused_execution_takes_effect_on_resume() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({"questionTimeoutSeconds": 2})).await;
    let asked = question(&http, &execution).await;
    send(&http, Method::POST, &path(&execution, "/pause"), "").await;
    until(&http, &execution, "paused", |status| {
        status["state"] == "paused"
    })
    .await;
    // Longer than the timeout, which stands in a pause.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = http.status(&execution).await.expect("a status");
    assert_eq!(before["questionsOpen"], 1, "{before}");
    let allow = json!({"decision": "allow"});
    assert_eq!(answer(&http, &execution, &asked, allow).await.0, 200);
    until(&http, &execution, "answered", |status| {
        status["questionsOpen"] == 0
    })
    .await;
    let paused = http.status(&execution).await.expect("a status");
    assert_eq!(paused["state"], "paused", "{paused}");
    send(&http, Method::POST, &path(&execution, "/resume"), "").await;
    let end = ended(&http, &execution).await;
    assert_eq!(end["state"], "completed", "{end}");
    assert!(
        output(&http, &execution)
            .await
            .starts_with("before\n\nallowed")
    );
}

#[tokio::test]
async fn an_interrupt_withdraws_the_question() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({"input": "stream"})).await;
    let asked = question(&http, &execution).await;
    let interrupt =
        json!({"type": "control_request", "request_id": "r", "request": {"subtype": "interrupt"}});
    let input = path(&execution, "/input?offset=0&eof=true");
    let (code, _, accepted) = send(&http, Method::POST, &input, format!("{interrupt}\n")).await;
    assert_eq!(code, 200, "{accepted}");
    let end = ended(&http, &execution).await;
    assert_eq!(end["questionsOpen"], 0, "{end}");
    let late = answer(&http, &execution, &asked, json!({"decision": "allow"})).await;
    assert_problem(&late, 409, "wrong-state", "an answer after the interrupt");
    assert_eq!(late.2["closedBy"], "withdrawn");
}

#[tokio::test]
async fn an_interrupt_after_the_last_turn_leaves_no_cli_that_waits() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = start(&http, "@say done", json!({"input": "stream"})).await;
    until(&http, &execution, "done", |status| {
        status["outputBytes"] == 4
    })
    .await;
    let interrupt =
        json!({"type": "control_request", "request_id": "r", "request": {"subtype": "interrupt"}});
    let input = path(&execution, "/input?offset=0&eof=true");
    let (code, _, accepted) = send(&http, Method::POST, &input, format!("{interrupt}\n")).await;
    assert_eq!(code, 200, "{accepted}");
    let end = ended(&http, &execution).await;
    assert_eq!(end["state"], "completed", "{end}");
}

#[tokio::test]
async fn the_death_of_claude_api_leaves_no_open_question() {
    let mut stack = stack(&[]).await;
    let http = stack.http();
    let first = ask(&http, json!({})).await;
    let answered = question(&http, &first).await;
    answer(&http, &first, &answered, json!({"decision": "allow"})).await;
    ended(&http, &first).await;
    let second = ask(&http, json!({})).await;
    let open = question(&http, &second).await;
    stack.crash_api().await;
    let http = stack.http();
    let end = ended(&http, &second).await;
    assert_eq!(
        (&end["state"], &end["questionsOpen"]),
        (&json!("interrupted"), &json!(0)),
        "{end}"
    );
    let late = answer(&http, &second, &open, json!({"decision": "allow"})).await;
    assert_problem(&late, 409, "wrong-state", "an answer after the death");
    assert_eq!(late.2["closedBy"], "end");
    // The answer from before is still known.
    let (code, _, again) = answer(&http, &first, &answered, json!({"decision": "allow"})).await;
    assert_eq!((code, &again["decision"]), (200, &json!("allow")));
    stack.assert_nothing_left(&second).await;
}

#[tokio::test]
async fn the_running_time_goes_on_while_a_question_is_open() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = start(
        &http,
        "@ask Bash {\"command\":\"x\"}",
        json!({"deadlineSeconds": 1}),
    )
    .await;
    question(&http, &execution).await;
    let since = Instant::now();
    let end = ended(&http, &execution).await;
    assert_eq!(end["reason"], "deadline", "{end}");
    assert!(since.elapsed() < Duration::from_secs(10));
}
