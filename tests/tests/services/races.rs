//! What comes in the moment between two states: a cancel or a follower while the acceptance is being recorded, a stop right
//! behind it, a runner that was stopped, a name that no status can carry.

use std::time::{Duration, Instant};

use cc_tests::harness::{Stack, StackOptions, eventually, processes};
use cc_tests::http::Http;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{PATIENCE, accept, ended, id, path};

/// Calls until the execution is known.
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
async fn who_follows_during_the_acceptance_sees_the_end() {
    let stack = Stack::start().await;
    let http = stack.http();
    for _ in 0..12 {
        let pairs = (0..6).map(|_| async {
            let id = id();
            let follow = async {
                loop {
                    if let Ok(lines) = http.follow_to_end(&id).await {
                        return lines;
                    }
                }
            };
            let body = json!({"prompt": "@say hi"});
            let (_, lines) = tokio::join!(http.put(&id, &body), follow);
            lines.last().expect("a line")["state"].clone()
        });
        let states = futures::future::join_all(pairs).await;
        assert_eq!(states, vec![json!("completed"); 6]);
    }
}

#[tokio::test]
async fn a_stop_right_behind_an_acceptance_drains_it() {
    let mut stack = Stack::start().await;
    let http = stack.http();
    let id = id();
    accept(&http, &id, "@say hi", json!({})).await;
    stack.api.stop().await;
    stack.api.start_again().await;
    let status = ended(&stack.http(), &id).await;
    assert_eq!(status["state"], "completed", "{status}");
    assert_eq!(stack.spawns(&id), 1);
}

#[tokio::test]
async fn a_stopped_runner_does_not_delay_a_cancel() {
    let stack = Stack::start().await;
    let http = stack.http();
    let id = id();
    accept(&http, &id, "@say begun\n@silence 60", json!({})).await;
    let runner = eventually("its runner", PATIENCE, || {
        let tree = processes::descendants(stack.api.pid());
        let cli = tree.iter().find(|p| p.arguments.contains(&id))?;
        Some(cli.parent)
    })
    .await;
    // The first answer shows that the runner has started it all.
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

#[tokio::test]
async fn silent_and_paused_ones_do_not_keep_others_from_starting() {
    let stack = Stack::with(StackOptions::default().api("--simultaneous-starts=2")).await;
    let http = stack.http();
    let silent = [id(), id()];
    for one in &silent {
        accept(&http, one, "@silence 60", json!({})).await;
        while http.status(one).await.expect("a status")["state"] == "queued" {
            tokio::task::yield_now().await;
        }
        http.call(Method::POST, &path(one, "/pause"), None)
            .await
            .expect("an answer");
    }
    let third = id();
    accept(&http, &third, "@say hi", json!({})).await;
    assert_eq!(ended(&http, &third).await["state"], "completed");
    for one in &silent {
        http.call(Method::POST, &path(one, "/cancel"), None)
            .await
            .expect("an answer");
        assert_eq!(ended(&http, one).await["state"], "cancelled");
    }
}
