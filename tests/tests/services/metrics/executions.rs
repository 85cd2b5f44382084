//! Executions by their end, with the times, bytes, tokens and cost of all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cc_tests::{
    harness::{Stack, StackOptions},
    ws,
};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{assert_near, page, until};
use crate::process_kills::runner_pid;
use crate::support::{PATIENCE, exists, send};

/// Returns options with the limits that [`run_each_end`] needs.
pub(super) fn options() -> StackOptions {
    StackOptions::default()
        .api("--stalled-ms=1000")
        .api("--idle-timeout-ms=2000")
        .api("--linger-ms=500")
        .api("--kill-ms=500")
}

/// Runs one execution for each kind of end that needs no restart; returns their number.
pub(super) async fn run_each_end(stack: &Stack, client: &mut ws::Client) -> usize {
    let prompts = [
        "@say x",
        "@tokens 500",
        "@linger 60\n@say x",
        "@say x\n@exit 3",
        "@say x\n@result error",
        "@result none",
        "@signal 9",
        "@result 401",
        "@result 429",
        "@result max-turns",
        "@result too-long",
        "@say x\n@silence 60",
        "@api-retry 2\n@restart same\n@unknown 1\n@raw {\"type\":\"assistant\",\"message\":7}",
    ];
    for prompt in prompts {
        client.run(prompt).await;
    }
    let folder = stack.path("workspaces").join("no-folder");
    std::fs::write(folder, "").expect("a file");
    for extra in [
        json!({"workspace": "no-folder"}),
        json!({"deadlineSeconds": 0.3}),
        json!({"format": "events"}),
    ] {
        let prompt = if extra["deadlineSeconds"].is_null() {
            "@say x"
        } else {
            "@tool 60"
        };
        let status = client.execute(prompt, extra).await;
        client
            .wait_terminal(status["executionId"].as_str().expect("an id"))
            .await;
    }
    let mark = stack.path("tmp").join("cancelled");
    let running = client
        .start(&format!("@say x\n@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    let waiting = client.start("@say x").await;
    let api = stack.api.addr();
    until(api, "claude_api_executions", &[("state", "queued")], 1.0).await;
    until(api, "claude_api_executions", &[("state", "running")], 1.0).await;
    // Two follow streams and one of output; the bridge opens them after the answers.
    until(api, "claude_api_viewers", &[], 3.0).await;
    client
        .control("PAUSE", Some(&running))
        .await
        .expect("accepted");
    until(api, "claude_api_executions", &[("state", "paused")], 1.0).await;
    for id in [&waiting, &running] {
        client.control("CANCEL", Some(id)).await.expect("accepted");
        client.wait_terminal(id).await;
    }
    let mark = stack.path("tmp").join("interrupted");
    let id = client
        .start(&format!("@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    let runner = Pid::from_raw(runner_pid(stack, &id).await).expect("a pid");
    kill_process(runner, Signal::KILL).expect("a runner can be killed");
    client.wait_terminal(&id).await;
    prompts.len() + 6
}

#[tokio::test]
async fn claude_api_counts_agree_with_the_statuses_of_all_executions() {
    let stack = Stack::with(options()).await;
    let mut client = stack.client().await;
    let count = run_each_end(&stack, &mut client).await;
    client.finish().await;
    let (_, _, list) = send(&stack.http(), Method::GET, "/v1/executions?limit=1000", "").await;
    let statuses = list["executions"].as_array().expect("a list");
    assert_eq!(statuses.len(), count);
    let api = stack.api.addr();
    let page = until(api, "claude_api_viewers", &[], 0.0).await;
    assert_near(
        page.sum("claude_api_executions", &[]),
        0.0,
        "live executions",
    );
    let ended = "claude_api_executions_ended_total";
    assert_near(page.sum(ended, &[]), count as f64, ended);
    assert_near(
        page.sum("claude_api_executions_accepted_total", &[]),
        count as f64,
        "accepted",
    );
    let mut ends = BTreeMap::<_, f64>::new();
    for status in statuses {
        let reason = status["reason"].as_str().unwrap_or("none");
        *ends
            .entry((status["state"].as_str().expect("a state"), reason))
            .or_default() += 1.0;
    }
    assert_eq!(ends.len(), 15, "{ends:?}");
    for ((state, reason), expected) in &ends {
        let labels = [("state", *state), ("reason", *reason)];
        assert_near(
            page.sum(ended, &labels),
            *expected,
            &format!("{state} {reason}"),
        );
    }
    let total = |name: &str| -> f64 { statuses.iter().filter_map(|s| s[name].as_f64()).sum() };
    assert_near(
        page.sum("claude_api_output_bytes_total", &[]),
        total("outputBytes"),
        "output",
    );
    assert_near(
        page.sum("claude_api_cost_usd_total", &[]),
        total("costUsd"),
        "cost",
    );
    for (kind, member) in [
        ("input", "input_tokens"),
        ("output", "output_tokens"),
        ("cache_read", "cache_read_input_tokens"),
        ("cache_creation", "cache_creation_input_tokens"),
    ] {
        let tokens = statuses.iter().filter_map(|s| s["usage"][member].as_f64());
        let got = page.sum("claude_api_tokens_total", &[("kind", kind)]);
        assert_near(got, tokens.sum(), kind);
    }
    assert!(
        page.sum("claude_api_tokens_total", &[]) > 100.0,
        "no tokens were counted"
    );
    let started = statuses
        .iter()
        .filter(|s| !s["startedAt"].is_null())
        .count() as f64;
    assert_near(started, (count - 1) as f64, "all but one");
    let name = "claude_api_execution_duration_seconds";
    assert_near(page.sum(&format!("{name}_count"), &[]), started, name);
    assert_near(
        page.sum(&format!("{name}_sum"), &[]),
        total("durationMs") / 1000.0,
        name,
    );
    assert_near(
        page.sum("claude_api_execution_queue_seconds_count", &[]),
        started,
        "queue",
    );
    let spoke = statuses.iter().filter(|s| s["outputBytes"] != 0).count() as f64;
    assert_near(
        page.sum("claude_api_execution_first_byte_seconds_count", &[]),
        spoke,
        "first byte",
    );
    let first = page.sum("claude_api_execution_first_byte_seconds_sum", &[]);
    assert!(
        first > 0.0 && first < spoke * PATIENCE.as_secs_f64(),
        "{first}"
    );
    assert_near(
        page.sum("claude_api_execution_first_token_seconds_count", &[]),
        spoke,
        "first token",
    );
    assert_near(page.sum("claude_api_stalls_total", &[]), 1.0, "stalls");
    // Two retries, and the one of the restart.
    let retries = page.sum("claude_api_model_retries_total", &[]);
    assert_near(retries, 3.0, "retries");
    assert_near(
        page.sum("claude_api_answer_restarts_total", &[]),
        total("restarts"),
        "restarts",
    );
    let lost = statuses
        .iter()
        .flat_map(|s| s["warnings"].as_array().expect("a list"));
    let lost = lost.filter(|w| w["code"] == "event_lost");
    let lost: f64 = lost.filter_map(|w| w["data"]["events"].as_f64()).sum();
    assert_near(
        page.sum("claude_api_events_lost_total", &[]),
        lost,
        "events lost",
    );
    assert!(lost > 0.0, "no lost events were counted");
    assert_near(
        page.sum("claude_api_dropped_bytes_total", &[]),
        0.0,
        "dropped",
    );
}

#[tokio::test]
async fn a_kill_is_counted_after_the_restart_and_the_bridge_counts_its_retries() {
    let mut stack = Stack::with(StackOptions::default().one_bridge()).await;
    let mut client = stack.client().await;
    let mark = stack.path("tmp").join("running");
    let id = client
        .start(&format!("@say x\n@touch {}\n@tool 60", mark.display()))
        .await;
    exists(&mark).await;
    client.wait_output(&id, 1).await;
    let page = page(stack.bridge.addr()).await;
    assert_near(page.sum("bridge_retries_total", &[]), 0.0, "retries");
    stack.crash_api().await;
    client.wait_terminal(&id).await;
    let api = stack.api.addr();
    let labels = [("state", "interrupted"), ("reason", "service_stopped")];
    until(api, "claude_api_executions_ended_total", &labels, 1.0).await;
    let page = self::page(stack.bridge.addr()).await;
    assert!(page.sum("bridge_retries_total", &[("request", "follow")]) >= 1.0);
    let end = Instant::now() + PATIENCE;
    while self::page(api).await.sum("claude_api_spool_bytes", &[]) == 0.0 {
        assert!(Instant::now() < end, "the spool is never measured");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.finish().await;
    stack.assert_quiet();
}
