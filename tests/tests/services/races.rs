//! Events between two states: a cancel or a follower while the acceptance is being recorded, a stop
//! right after it, and a runner that was stopped.

use std::time::{Duration, Instant};

use cc_tests::harness::{Stack, StackOptions, eventually, processes};
use cc_tests::http::Http;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, ended, id, parsed, path, until};

/// Repeats a call until the execution is known; returns the answer.
async fn once_known(http: &Http, method: Method, path: &str) -> Value {
    loop {
        let (code, body) = http
            .call(method.clone(), path, None)
            .await
            .expect("an answer");
        if code != StatusCode::NOT_FOUND {
            assert!(code.is_success(), "{code} {body}");
            return body;
        }
    }
}

#[tokio::test]
async fn a_cancel_during_the_acceptance_is_not_lost() {
    let stack = Stack::start().await;
    let http = stack.http();
    let body = json!({"prompt": "@silence 1\n@say hi"});
    for _ in 0..12 {
        let pairs = (0..6).map(|_| async {
            let id = id();
            let cancel = path(&id, "/cancel");
            let (put, _) = tokio::join!(
                http.put(&id, &body),
                once_known(&http, Method::POST, &cancel)
            );
            assert!(put.expect("an answer").0.is_success());
            ended(&http, &id).await["state"].clone()
        });
        let states = futures::future::join_all(pairs).await;
        assert_eq!(states, vec![json!("cancelled"); 6]);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_follower_during_the_acceptance_sees_the_end() {
    let stack = Stack::start().await;
    let http = stack.http();
    for _ in 0..12 {
        let pairs = (0..6).map(|_| async {
            let id = id();
            let rest = path(&id, "?follow=true");
            let follow = async {
                loop {
                    let response = http.request(Method::GET, &rest).send().await;
                    let response = response.expect("an answer");
                    // Retry only while the execution is unknown.
                    if response.status() != StatusCode::NOT_FOUND {
                        return response.text().await.expect("a clean end");
                    }
                }
            };
            let body = json!({"prompt": "@say hi"});
            let (put, lines) = tokio::join!(http.put(&id, &body), follow);
            assert!(put.expect("an answer").0.is_success());
            parsed(lines.lines().last().expect("a line"))["state"].clone()
        });
        let states = futures::future::join_all(pairs).await;
        assert_eq!(states, vec![json!("completed"); 6]);
    }
}

#[tokio::test]
async fn a_stop_right_after_an_acceptance_drains_the_execution() {
    let mut stack = Stack::start().await;
    // The moment between the permit and `running` is short: one of these rounds hits it.
    for _ in 0..10 {
        let (http, ids) = (stack.http(), [id(), id(), id(), id()]);
        let accepted = ids.iter().map(|id| accept(&http, id, "@say hi", json!({})));
        futures::future::join_all(accepted).await;
        stack.api.stop().await;
        stack.api.start_again().await;
        let http = stack.http();
        for id in &ids {
            let status = ended(&http, id).await;
            assert_eq!(status["state"], "completed", "{status}");
            assert_eq!(stack.spawns(id), 1);
        }
    }
}

#[tokio::test]
async fn a_stopped_runner_does_not_delay_a_cancel() {
    let stack = Stack::start().await;
    let http = stack.http();
    let id = id();
    accept(&http, &id, "@say begun\n@silence 60", json!({})).await;
    let runner = eventually("the runner", PATIENCE, || {
        let tree = processes::descendants(stack.api.pid());
        let cli = tree.iter().find(|p| p.arguments.contains(&id))?;
        Some(cli.parent)
    })
    .await;
    // The first answer shows that the runner has started the CLI.
    http.call(Method::POST, &path(&id, "/resume"), None)
        .await
        .expect("an answer");
    let pid = rustix::process::Pid::from_raw(runner).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("a stopped runner");
    let began = Instant::now();
    http.call(Method::POST, &path(&id, "/cancel"), None)
        .await
        .expect("an answer");
    let status = ended(&http, &id).await;
    assert_eq!(status["state"], "cancelled");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    stack.assert_nothing_left(&id).await;
}

/// Starts a stack with two permits for starts, held by executions whose CLI reads and writes
/// nothing.
async fn with_silent_starts() -> (Stack, [String; 2]) {
    let stack = Stack::with(StackOptions::default().api("--simultaneous-starts=2")).await;
    let http = stack.http();
    let silent = [id(), id()];
    for one in &silent {
        accept(&http, one, "x", json!({"model": "never-read-stdin"})).await;
        until(&http, one, "running", |status| status["state"] == "running").await;
    }
    (stack, silent)
}

/// Runs a third execution; returns how long it took. Then cancels the silent ones.
async fn time_third(stack: &Stack, silent: &[String]) -> Duration {
    let (http, third) = (stack.http(), id());
    let began = Instant::now();
    accept(&http, &third, "@say hi", json!({})).await;
    assert_eq!(ended(&http, &third).await["state"], "completed");
    let took = began.elapsed();
    for one in silent {
        http.call(Method::POST, &path(one, "/cancel"), None)
            .await
            .expect("an answer");
        assert_eq!(ended(&http, one).await["state"], "cancelled");
    }
    took
}

#[tokio::test]
async fn silent_starts_block_other_starts_for_ten_seconds_only() {
    let (stack, silent) = with_silent_starts().await;
    // Both starts begin at nearly the same time, and `time_third` waits for 20 s.
    let took = time_third(&stack, &silent).await;
    assert!(took > Duration::from_secs(5), "{took:?}: a permit was free");
}

#[tokio::test]
async fn paused_starts_do_not_block_other_starts() {
    let (stack, silent) = with_silent_starts().await;
    let http = stack.http();
    for one in &silent {
        http.call(Method::POST, &path(one, "/pause"), None)
            .await
            .expect("an answer");
        until(&http, one, "paused", |status| status["state"] == "paused").await;
    }
    let took = time_third(&stack, &silent).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}
