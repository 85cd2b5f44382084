//! The page `/metrics` as clients read it.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use protocol::ExecutionId;
use serde_json::json;

use super::definitions::ENDS;
use super::*;

fn status(state: State, reason: Option<Reason>) -> Status {
    let at = Timestamp::UNIX_EPOCH;
    let mut status = Status::queued(ExecutionId::random(), at, "default".to_owned());
    status.state = state;
    status.reason = reason;
    status.started_at = Some(at + SignedDuration::from_millis(1500));
    status.duration_ms = Some(2250);
    status
}

#[track_caller]
fn assert_line(page: &str, line: &str) {
    assert!(page.lines().any(|other| other == line), "{line}\n{page}");
}

#[test]
fn an_end_counts_by_state_and_reason_with_its_tokens_cost_and_times() {
    let metrics = Metrics::default();
    let mut ended = status(State::Failed, Some(Reason::MaxTurns));
    ended.usage = Some(json!({
        "input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 11, "service_tier": "standard",
    }));
    ended.cost_usd = Some(0.25);
    metrics.started(&ended);
    metrics.ended(&ended);
    ended.cost_usd = Some(-1.0);
    metrics.ended(&ended);
    let page = metrics.page(Gauges::default(), Exposition::OpenMetrics);
    for line in [
        r#"claude_api_executions_ended_total{state="failed",reason="max_turns"} 2"#,
        r#"claude_api_executions_ended_total{state="completed",reason="none"} 0"#,
        r#"claude_api_tokens_total{kind="input"} 6"#,
        r#"claude_api_tokens_total{kind="output"} 10"#,
        r#"claude_api_tokens_total{kind="cache_read"} 14"#,
        r#"claude_api_tokens_total{kind="cache_creation"} 22"#,
        "claude_api_cost_usd_total 0.25",
        "claude_api_execution_queue_seconds_sum 1.5",
        "claude_api_execution_queue_seconds_count 1",
        "claude_api_execution_duration_seconds_sum 4.5",
        r#"claude_api_execution_duration_seconds_bucket{le="2.5"} 2"#,
        r#"claude_api_execution_duration_seconds_bucket{le="1.0"} 0"#,
    ] {
        assert_line(&page, line);
    }
}

#[test]
fn an_execution_that_never_started_has_no_duration() {
    let metrics = Metrics::default();
    let mut cancelled = status(State::Cancelled, None);
    cancelled.started_at = None;
    metrics.ended(&cancelled);
    let page = metrics.page(Gauges::default(), Exposition::Text);
    assert_line(&page, "claude_api_execution_duration_seconds_count 0");
    let line = r#"claude_api_executions_ended_total{state="cancelled",reason="none"} 1"#;
    assert_line(&page, line);
}

#[test]
fn every_reason_of_an_execution_has_a_series() {
    let reasons: HashSet<_> = ENDS.iter().filter_map(|(_, reason)| *reason).collect();
    let mut expected: HashSet<_> = Reason::ALL.iter().copied().collect();
    // An execute that the bridge refused is no execution of claude-api's.
    expected.remove(&Reason::Rejected);
    assert_eq!(reasons, expected);
    assert_eq!(
        HashSet::from(ENDS).len(),
        ENDS.len(),
        "an end is listed twice"
    );
}

#[test]
fn every_series_exists_from_the_start() {
    let metrics = Metrics::default();
    let series = |page: &str| {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let names = lines.filter_map(|line| line.rsplit_once(' '));
        names
            .map(|(name, _)| name.to_owned())
            .collect::<HashSet<_>>()
    };
    let before = series(&metrics.page(Gauges::default(), Exposition::Text));
    for (state, reason) in ENDS {
        let mut ended = status(state, reason);
        ended.usage = Some(json!({"input_tokens": 1, "cache_read_input_tokens": 1}));
        metrics.ended(&ended);
    }
    for kind in ProblemType::ALL {
        metrics.refused(*kind);
    }
    for event in WebhookEvent::ALL {
        for outcome in WebhookOutcome::ALL {
            metrics.webhook(event, outcome);
        }
    }
    metrics.output.dropped_events.inc();
    let gauges = Gauges {
        queued: 1,
        running: 2,
        paused: 3,
        viewers: 4,
        spool_bytes: u64::MAX,
        webhooks_pending: 5,
    };
    let page = metrics.page(gauges, Exposition::Text);
    assert_eq!(series(&page), before);
    for line in [
        r#"claude_api_executions{state="queued"} 1"#,
        r#"claude_api_executions{state="running"} 2"#,
        r#"claude_api_executions{state="paused"} 3"#,
        "claude_api_viewers 4",
        "claude_api_spool_bytes 9223372036854775807",
        "claude_api_webhooks_pending 5",
        r#"claude_api_webhook_deliveries_total{event="ended",result="expired"} 1"#,
        r#"claude_api_dropped_bytes_total{track="events"} 1"#,
        r#"claude_api_requests_refused_total{reason="queue_full"} 1"#,
    ] {
        assert_line(&page, line);
    }
    // The answer `not-ready` of a health page is no refused request.
    assert!(!page.contains("not-ready"), "{page}");
}
