//! Stops of claude-api and of the bridge by SIGTERM.

use std::time::{Duration, Instant};

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, assert_problem, ended, exists, id, path, send, until};

#[tokio::test]
async fn sigterm_of_claude_api_drains_interrupts_and_keeps_the_queue() {
    let mut stack = Stack::with(
        StackOptions::default()
            .api("--shutdown-ms=5000")
            .api("--kill-ms=500"),
    )
    .await;
    let http = stack.http();
    let (short, long, queued) = (id(), id(), id());
    let mark = stack.path("tmp").join("go");
    accept(&http, &short, "@say a\n@silence 1\n@say b", json!({})).await;
    let prompt = format!(
        "@say so far\n@tree 4\n@daemon\n@touch {}\n@tool 60",
        mark.display()
    );
    accept(&http, &long, &prompt, json!({"lane": "one"})).await;
    exists(&mark).await;
    until(&http, &short, "running", |status| {
        status["outputBytes"] == 1
    })
    .await;
    accept(&http, &queued, "@say later", json!({"lane": "one"})).await;
    let reader = {
        let (http, id) = (http.clone(), short.clone());
        tokio::spawn(async move { http.output(&id, 0).await })
    };
    let mut client = stack.client().await;
    client.attach(&long, None).await.expect("attached");
    client.wait_output(&long, 6).await;
    let begun = Instant::now();
    stack.api.signal(Signal::TERM);
    let page = crate::startup::health(&http, "/health/ready", 503).await;
    crate::startup::reason(&page, "stopping");
    let answer = send(
        &http,
        Method::PUT,
        &path(&id(), ""),
        json!({"prompt": "@say x"}).to_string(),
    )
    .await;
    assert_problem(
        &answer,
        503,
        "stopping",
        "an execution for a service that stops",
    );
    assert!(answer.1.contains_key("retry-after"));
    // An execution that ends in time completes as usual.
    let output = reader.await.expect("a task").expect("an output");
    output.assert_whole("completed");
    assert_eq!(output.bytes, b"ab");
    let status = stack.api.wait_exit(PATIENCE).await;
    assert!(status.success(), "{status}");
    let took = begun.elapsed();
    assert!(
        took < Duration::from_millis(6500),
        "a stop of at most 5 s took {took:?}"
    );
    stack.assert_nothing_left(&long).await;
    assert_eq!(
        stack.spawns(&queued),
        0,
        "a queued execution was started during the stop"
    );
    stack.api.start_again().await;
    let http = stack.http();
    assert_eq!(
        http.status(&short).await.expect("a status")["state"],
        "completed"
    );
    let (output, end) = client.wait_terminal(&long).await;
    assert_eq!(
        (&end["status"], &end["exitCode"], &output[..]),
        (&json!("INTERRUPTED"), &Value::Null, &b"so far"[..]),
        "{end}"
    );
    assert_eq!(ended(&http, &queued).await["state"], "completed");
    for id in [&short, &long, &queued] {
        assert_eq!(stack.spawns(id), 1);
    }
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn sigterm_of_the_bridge_closes_with_1012_and_a_new_session_gets_the_rest() {
    let mut stack = Stack::start().await;
    let mut client = stack.client().await;
    let running = execution_id(
        &client
            .execute(
                "@say a\n@silence 1\n@say b",
                json!({"onDisconnect": "cancel"}),
            )
            .await,
    );
    let queued = client.start("@say c").await;
    client.wait_output(&running, 1).await;
    let idle = stack.client().await;
    stack.stop_bridges().await;
    assert_eq!(client.wait_closed().await, 1012);
    assert_eq!(idle.wait_closed().await, 1012);
    stack.start_bridges_again().await;
    let mut reconnected = stack.client().await;
    for (id, expected) in [(&running, &b"ab"[..]), (&queued, &b"c"[..])] {
        reconnected.attach(id, None).await.expect("attached");
        let (output, end) = reconnected.wait_terminal(id).await;
        assert_eq!(
            (&end["status"], &output[..]),
            (&json!("COMPLETED"), expected)
        );
        assert_eq!(stack.spawns(id), 1);
    }
    reconnected.finish().await;
    stack.assert_quiet();
}

fn execution_id(status: &Value) -> String {
    status["executionId"].as_str().expect("an id").to_owned()
}
