//! Many executions, disconnects and kills leave nothing behind (S5, F2, I5).

mod leaks;

use std::time::Duration;

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use rand::Rng;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{accept, ended, id, path};

const DISCONNECTS: usize = 1000;
/// Clients that leave at the same time.
const LEAVERS: usize = 8;

#[tokio::test]
async fn s5_a_thousand_random_disconnects_raise_no_error() {
    let stack = Stack::with(
        StackOptions::default()
            .bridge("--disconnect-grace-ms=200")
            .api("--queued-per-lane=1000"),
    )
    .await;
    let mut ids = Vec::new();
    let mut rng = rand::rng();
    for _ in 0..DISCONNECTS / LEAVERS {
        let leavers = (0..LEAVERS).map(|_| {
            let (kind, bytes, id) = (rng.random_range(0..8), rng.random_range(1..60_000), id());
            ids.push(id.clone());
            leave(&stack, kind, bytes, id)
        });
        futures::future::join_all(leavers.collect::<Vec<_>>()).await;
    }
    let (http, mut known) = (stack.http(), 0);
    for id in &ids {
        // Some clients left before they sent their `execute`.
        let (code, status) = http.get(&path(id, "")).await.expect("an answer");
        if code == StatusCode::NOT_FOUND {
            continue;
        }
        assert_eq!(code, StatusCode::OK, "{status}");
        known += 1;
        ended(&http, id).await;
        assert!(stack.spawns(id) <= 1);
    }
    assert!(known > DISCONNECTS / 2, "only {known} were accepted");
    let mut client = stack.client().await;
    assert_eq!(client.run("@say alive").await.0, b"alive");
    client.finish().await;
    stack.assert_quiet();
}

/// Runs one client that disconnects in the middle of an exchange; `kind` chooses the moment.
async fn leave(stack: &Stack, kind: u32, bytes: u64, id: String) {
    let options = ws::Options {
        keep_output: false,
        ..ws::Options::default()
    };
    let Ok(mut client) = ws::Client::try_connect(stack.ws_addr(), options).await else {
        panic!("no session");
    };
    if kind == 0 {
        return client.vanish();
    }
    let prompt = "@rate 2000\n@volume 200 500";
    let on_disconnect = if kind.is_multiple_of(2) {
        "cancel"
    } else {
        "continue"
    };
    let params = json!({"prompt": prompt, "executionId": id, "onDisconnect": on_disconnect});
    let request = client.request("execute", params).await;
    match kind {
        1 => {}
        2 => drop(client.answer(request).await),
        3 | 4 => drop(client.wait_output(&id, bytes).await),
        5 => {
            // In the middle of a cancel: its answer may find no client.
            client.wait_output(&id, 1).await;
            client
                .request("control", json!({"type": "CANCEL", "executionId": id}))
                .await;
        }
        6 => {
            client.wait_output(&id, 1).await;
            drop(client.control("CANCEL", Some(&id)).await);
        }
        _ => {
            client.read(false);
            client.request("list", json!({})).await;
        }
    }
    client.vanish();
}

#[tokio::test]
async fn i4_kills_at_random_moments_never_run_an_execution_twice() {
    let mut stack = Stack::start().await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        let http = stack.http();
        let batch: Vec<String> = (0..6).map(|_| id()).collect();
        let puts: Vec<_> = batch
            .iter()
            .map(|id| {
                let (http, id) = (http.clone(), id.clone());
                // The answer may never arrive.
                tokio::spawn(async move {
                    drop(
                        http.put(&id, &json!({"prompt": "@say x\n@silence 0.05\n@say y"}))
                            .await,
                    )
                })
            })
            .collect();
        let moment = Duration::from_millis(rand::rng().random_range(0..60));
        tokio::time::sleep(moment).await;
        stack.crash_api().await;
        for put in puts {
            put.await.expect("a task");
        }
        ids.extend(batch);
    }
    let http = stack.http();
    for id in &ids {
        // The client's retry, whatever happened to the first try.
        accept(&http, id, "@say x\n@silence 0.05\n@say y", json!({})).await;
        let end = ended(&http, id).await;
        let state = end["state"].as_str().expect("a state");
        assert!(["completed", "interrupted"].contains(&state), "{end}");
        let spawns = stack.spawns(id);
        assert!(
            spawns <= 1 && (spawns == 1 || state == "interrupted"),
            "{spawns} starts of {end}"
        );
        stack.assert_nothing_left(id).await;
    }
    stack.assert_quiet();
}
