//! The metrics after a suite: the counts since its start agree with its executions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cc_tests::{
    composed::{Project, Tally, until},
    exposition::{Format, Page},
    http::Http,
};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

/// Time within which the views and sessions of ended tests are closed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Length of the list, more than a suite runs.
const LIST: usize = 1000;

async fn page(addr: SocketAddr) -> Page {
    let request = Http::new(addr).request(Method::GET, "/metrics");
    let text = request.send().await.expect("an answer").text().await;
    Page::parse(&text.expect("a page"), Format::Text).expect("a page of the text format")
}

/// Waits until these gauges are 0; returns the page.
async fn at_rest(addr: SocketAddr, gauges: &[&str]) -> Page {
    until(&format!("{gauges:?} to be 0"), PATIENCE, async || {
        let page = page(addr).await;
        let busy = gauges.iter().any(|name| page.sum(name, &[]) != 0.0);
        (!busy).then_some(page)
    })
    .await
}

/// Returns the statuses of all executions since a time.
async fn executions(project: &Project, since: Timestamp) -> Vec<Value> {
    let path = format!("/v1/executions?limit={LIST}");
    let (_, list) = project.http().get(&path).await.expect("a list");
    let all = list["executions"].as_array().expect("a list").clone();
    let created = |status: &Value| -> Timestamp {
        let text = status["createdAt"].as_str().expect("a time");
        text.parse().expect("a time")
    };
    let mut ours = all.clone();
    ours.retain(|status| created(status) >= since);
    let whole = all.len() < LIST || ours.len() < all.len();
    assert!(whole, "the suite ran more than {LIST} executions");
    ours
}

#[tokio::test]
#[ignore = "runs inside scripts/test, after each suite on the shared stack"]
async fn metrics_agree_with_what_the_suite_did() {
    let start = Tally::read();
    let project = Project::shared();
    let live = ["claude_api_executions", "claude_api_viewers"];
    let api = at_rest(project.api(), &live).await;
    let bridge = at_rest(project.bridge(), &["bridge_sessions", "bridge_viewers"]).await;
    let statuses = executions(&project, start.at).await;
    let counted =
        |name: &str, labels: &[(&str, &str)]| api.sum(name, labels) - start.api.sum(name, labels);
    let assert_agrees = |name: &str, labels: &[(&str, &str)], expected: f64| {
        assert_eq!(counted(name, labels), expected, "{name} {labels:?}");
    };
    assert!(!statuses.is_empty(), "the suite ran nothing");
    let count = statuses.len() as f64;
    assert_agrees("claude_api_executions_accepted_total", &[], count);
    assert_agrees("claude_api_executions_ended_total", &[], count);
    let mut ends = BTreeMap::<_, f64>::new();
    for status in &statuses {
        let reason = status["reason"].as_str().unwrap_or("none");
        let state = status["state"].as_str().expect("a state");
        *ends.entry((state, reason)).or_default() += 1.0;
    }
    for ((state, reason), expected) in &ends {
        let labels = [("state", *state), ("reason", *reason)];
        assert_agrees("claude_api_executions_ended_total", &labels, *expected);
    }
    let bytes: f64 = statuses
        .iter()
        .filter_map(|s| s["outputBytes"].as_f64())
        .sum();
    assert_agrees("claude_api_output_bytes_total", &[], bytes);
    assert_agrees("claude_api_dropped_bytes_total", &[], 0.0);
    let started = statuses
        .iter()
        .filter(|s| !s["startedAt"].is_null())
        .count();
    let name = "claude_api_execution_duration_seconds_count";
    assert_agrees(name, &[], started as f64);

    let name = "bridge_sessions_opened_total";
    let sessions = bridge.sum(name, &[]) - start.bridge.sum(name, &[]);
    assert_eq!(sessions, start.sessions as f64, "{name}");
    println!("{ends:?}, {bytes} bytes, {sessions} sessions");
}
