//! Hooks that hang: no other execution waits, and a cancel, a deadline or a stop ends them.

use std::{
    fs,
    time::{Duration, Instant},
};

use cc_tests::http::Http;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Hooked;
use crate::support::{PATIENCE, ended, exists, path};

/// Limit for other work: far below the time limit of a hook, so longer work waited for one.
const USUAL: Duration = Duration::from_secs(5);
const LIMIT: &str = "--hook-timeout-ms=60000";

async fn cancel(http: &Http, id: &str) {
    let cancelled = http.call(Method::POST, &path(id, "/cancel"), None).await;
    let (code, answer) = cancelled.expect("an answer");
    assert!(code.is_success(), "{answer}");
}

/// Asserts that other executions, health pages and a ping take their usual time.
async fn assert_usual_time(hooked: &Hooked, lane: &str) {
    let begun = Instant::now();
    for page in ["/health/live", "/health/ready"] {
        let (code, _) = hooked.http().get(page).await.expect("an answer");
        assert_eq!(code.as_u16(), 200, "{page}");
    }
    let mut client = hooked.stack.client().await;
    client.call("ping", json!({})).await.expect("an answer");
    client.finish().await;
    for _ in 0..3 {
        let other = hooked.accept("none", json!({"lane": lane})).await;
        assert_eq!(ended(&hooked.http(), &other).await["state"], "completed");
    }
    let took = begun.elapsed();
    assert!(took < USUAL, "other work waited for a hook: {took:?}");
}

#[tokio::test]
async fn a_slow_before_hook_delays_no_other_execution() {
    // The hook must not hold the only permit for starts.
    let flags = [LIMIT, "--simultaneous-starts=1", "--running-executions=2"];
    for mode in ["advisory", "required"] {
        let hooked = Hooked::start("before", mode, &flags).await;
        let slow = hooked.accept("slow", json!({"lane": "slow"})).await;
        exists(&hooked.file("began")).await;
        assert_usual_time(&hooked, "other").await;
        let status = hooked.http().status(&slow).await.expect("a status");
        assert_eq!(status["state"], "running", "{status}");
        assert_eq!(hooked.stack.spawns(&slow), 0, "the CLI did not wait");
        fs::write(hooked.file("go"), "").expect("written");
        let end = ended(&hooked.http(), &slow).await;
        assert_eq!(
            (&end["state"], &end["warnings"]),
            (&json!("completed"), &json!([])),
            "{end}"
        );
        hooked.stack.assert_quiet();
    }
}

#[tokio::test]
async fn slow_after_hooks_delay_no_other_execution() {
    let flags = [LIMIT, "--running-executions=1"];
    for mode in ["advisory", "required"] {
        let hooked = Hooked::start("after", mode, &flags).await;
        let mut slow = Vec::new();
        // More hooks than run at the same time.
        for _ in 0..6 {
            let id = hooked.accept("slow", json!({"lane": "one"})).await;
            assert_eq!(ended(&hooked.http(), &id).await["state"], "completed");
            slow.push(id);
        }
        exists(&hooked.file("began")).await;
        assert_usual_time(&hooked, "one").await;
        fs::write(hooked.file("go"), "").expect("written");
        let mut hooked = hooked;
        assert!(hooked.stack.api.stop().await.success());
        hooked.stack.api.start_again().await;
        for id in slow {
            let status = hooked.http().status(&id).await.expect("a status");
            assert_eq!(status["warnings"], json!([]), "{status}");
        }
        hooked.stack.assert_quiet();
    }
}

#[tokio::test]
async fn a_cancel_ends_a_hanging_hook_and_no_cli_starts() {
    for mode in ["advisory", "required"] {
        let hooked = Hooked::start("before", mode, &[LIMIT]).await;
        let id = hooked.accept("endless", json!({})).await;
        exists(&hooked.file("began")).await;
        let begun = Instant::now();
        cancel(&hooked.http(), &id).await;
        let end = ended(&hooked.http(), &id).await;
        assert!(begun.elapsed() < USUAL, "{:?}", begun.elapsed());
        assert_eq!(
            (&end["state"], &end["reason"], &end["warnings"]),
            (&json!("cancelled"), &Value::Null, &json!([])),
            "{end}"
        );
        assert_eq!(hooked.stack.spawns(&id), 0);
        hooked.assert_nothing_left(&id).await;
        hooked.stack.assert_quiet();
    }
}

#[tokio::test]
async fn the_deadline_of_an_execution_ends_a_hanging_hook() {
    let hooked = Hooked::start("before", "advisory", &[LIMIT]).await;
    let id = hooked
        .accept("endless", json!({"deadlineSeconds": 1}))
        .await;
    let end = ended(&hooked.http(), &id).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("timed_out"), &json!("deadline")),
        "{end}"
    );
    let duration = end["durationMs"].as_u64().expect("a duration");
    assert!((1000..20_000).contains(&duration), "{duration}");
    assert_eq!(hooked.stack.spawns(&id), 0);
    hooked.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn a_pause_during_a_before_hook_applies_when_the_cli_runs() {
    let hooked = Hooked::start("before", "advisory", &[LIMIT]).await;
    let (http, id) = (hooked.http(), hooked.accept("slow", json!({})).await);
    exists(&hooked.file("began")).await;
    let (code, _) = http
        .call(Method::POST, &path(&id, "/pause"), None)
        .await
        .expect("an answer");
    assert!(code.is_success(), "{code}");
    fs::write(hooked.file("go"), "").expect("written");
    let paused = |status: &Value| status["state"] == "paused";
    crate::support::until(&http, &id, "paused", paused).await;
    http.call(Method::POST, &path(&id, "/resume"), None)
        .await
        .expect("an answer");
    assert_eq!(ended(&http, &id).await["state"], "completed");
}

#[tokio::test]
async fn a_stop_of_claude_api_ends_hanging_hooks_within_its_grace() {
    let flags = [LIMIT, "--shutdown-ms=3000", "--kill-ms=200"];
    for (moment, state, reason) in [
        ("before", "interrupted", json!("service_stopped")),
        ("after", "completed", Value::Null),
    ] {
        let mut hooked = Hooked::start(moment, "advisory", &flags).await;
        let id = hooked.accept("endless", json!({})).await;
        exists(&hooked.file("began")).await;
        let begun = Instant::now();
        hooked.stack.api.signal(Signal::TERM);
        let exit = hooked.stack.api.wait_exit(PATIENCE).await;
        let took = begun.elapsed();
        assert!(exit.success(), "{exit}");
        assert!(took < Duration::from_millis(4500), "{moment}: {took:?}");
        hooked.assert_nothing_left(&id).await;
        hooked.stack.api.start_again().await;
        let end = hooked.http().status(&id).await.expect("a status");
        assert_eq!(
            (&end["state"], &end["reason"]),
            (&json!(state), &reason),
            "{end}"
        );
        if moment == "after" {
            let data = json!({"hook": "after", "mode": "advisory", "cause": "stopped"});
            assert_eq!(end["warnings"][0]["data"], data, "{end}");
        } else {
            assert_eq!(hooked.stack.spawns(&id), 0);
        }
    }
}

#[tokio::test]
async fn a_kill_of_claude_api_leaves_no_process_of_a_hook() {
    for moment in ["before", "after"] {
        let mut hooked = Hooked::start(moment, "advisory", &[LIMIT]).await;
        let id = hooked.accept("endless", json!({})).await;
        exists(&hooked.file("began")).await;
        hooked.stack.api.kill();
        hooked.assert_nothing_left(&id).await;
    }
}
