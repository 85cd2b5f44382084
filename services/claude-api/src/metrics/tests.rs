//! The page `/metrics` as clients read it.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use protocol::{ExecutionId, Limits, Reason, State};
use serde_json::json;

use super::definitions::ENDS;
use super::questions::CAUSES;
use super::*;
use crate::access::spending::Budgets;
use crate::readiness::{Conditions, OBSTACLES, WARNINGS};

/// The metrics of a service that does not count by principal.
fn metrics() -> Metrics {
    Metrics::new(&Limits::default(), false)
}

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
    let metrics = metrics();
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
    let page = metrics.page(&Gauges::default(), Exposition::OpenMetrics);
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
    let metrics = metrics();
    let mut cancelled = status(State::Cancelled, None);
    cancelled.started_at = None;
    metrics.ended(&cancelled);
    let page = metrics.page(&Gauges::default(), Exposition::Text);
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
    let metrics = metrics();
    let series = |page: &str| {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let names = lines.filter_map(|line| line.rsplit_once(' '));
        names
            .map(|(name, _)| name.to_owned())
            .collect::<HashSet<_>>()
    };
    let before = series(&metrics.page(&Gauges::default(), Exposition::Text));
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
    for cause in CAUSES {
        metrics.questions.asked();
        metrics.questions.closed(cause, 2);
    }
    metrics.output.dropped_events.inc();
    let gauges = Gauges {
        queued: 1,
        running: 2,
        paused: 3,
        viewers: 4,
        spool_bytes: u64::MAX,
        spool_free_bytes: 5,
        conditions: Conditions {
            obstacles: OBSTACLES.to_vec(),
            warnings: WARNINGS.to_vec(),
        },
        budgets: Budgets {
            open: 6,
            near: 7,
            spent: 8,
        },
        webhooks_pending: 5,
    };
    let page = metrics.page(&gauges, Exposition::Text);
    assert_eq!(series(&page), before);
    for line in [
        r#"claude_api_executions{state="queued"} 1"#,
        r#"claude_api_executions{state="running"} 2"#,
        r#"claude_api_executions{state="paused"} 3"#,
        "claude_api_viewers 4",
        "claude_api_ready 0",
        "claude_api_spool_free_bytes 5",
        r#"claude_api_obstacles{reason="no_room"} 1"#,
        r#"claude_api_obstacles{reason="runner_died"} 1"#,
        r#"claude_api_warnings{reason="sandbox_not_pid_1"} 1"#,
        r#"claude_api_budgets{state="open"} 6"#,
        r#"claude_api_budgets{state="near"} 7"#,
        r#"claude_api_budgets{state="spent"} 8"#,
        "claude_api_spool_bytes 9223372036854775807",
        "claude_api_webhooks_pending 5",
        r#"claude_api_webhook_deliveries_total{event="ended",result="expired"} 1"#,
        "claude_api_questions_asked_total 4",
        r#"claude_api_questions_closed_total{cause="withdrawn"} 2"#,
        r#"claude_api_dropped_bytes_total{track="events"} 1"#,
        r#"claude_api_requests_refused_total{reason="queue_full"} 1"#,
    ] {
        assert_line(&page, line);
    }
    // The answer `not-ready` of a health page is no refused request.
    assert!(!page.contains("not-ready"), "{page}");
}

#[test]
fn conditions_that_have_ended_are_zero_again() {
    let metrics = metrics();
    let mut gauges = Gauges::default();
    gauges.conditions.obstacles = vec!["credential-refused"];
    let page = metrics.page(&gauges, Exposition::Text);
    assert_line(&page, "claude_api_ready 0");
    assert_line(
        &page,
        r#"claude_api_obstacles{reason="credential_refused"} 1"#,
    );
    assert_line(&page, r#"claude_api_obstacles{reason="no_room"} 0"#);
    let page = metrics.page(&Gauges::default(), Exposition::Text);
    assert_line(&page, "claude_api_ready 1");
    assert_line(
        &page,
        r#"claude_api_obstacles{reason="credential_refused"} 0"#,
    );
}

#[test]
fn limits_and_the_start_time_are_on_the_page() {
    let limits = Limits {
        queued: 17,
        running_executions: 3,
        retention_bytes: 1 << 30,
        ..Limits::default()
    };
    let before = jiff::Timestamp::now().as_duration().as_secs_f64();
    let metrics = Metrics::new(&limits, false);
    let page = metrics.page(&Gauges::default(), Exposition::Text);
    for line in [
        r#"claude_api_executions_limit{state="queued"} 17"#,
        r#"claude_api_executions_limit{state="running"} 3"#,
        "claude_api_spool_limit_bytes 1073741824",
    ] {
        assert_line(&page, line);
    }
    let name = "claude_api_start_time_seconds ";
    let start = page.lines().find_map(|line| line.strip_prefix(name));
    let start: f64 = start.unwrap().parse().unwrap();
    assert!((before..before + 60.0).contains(&start), "{start}");
}

#[test]
fn a_principal_is_a_label_only_where_the_operator_wants_it() {
    let mut ended = status(State::Completed, None);
    ended.principal = Some("team-a".to_owned());
    ended.usage = Some(json!({"input_tokens": 3}));
    ended.cost_usd = Some(0.5);
    let off = metrics();
    off.accepted(Some("team-a"));
    off.ended(&ended);
    let page = off.page(&Gauges::default(), Exposition::Text);
    assert!(!page.contains("principal"), "{page}");

    let on = Metrics::new(&Limits::default(), true);
    on.accepted(Some("team-a"));
    let page = on.page(&Gauges::default(), Exposition::Text);
    assert_line(
        &page,
        r#"claude_api_principal_cost_usd_total{principal="team-a"} 0.0"#,
    );
    on.ended(&ended);
    ended.principal = None;
    on.accepted(None);
    on.ended(&ended);
    let page = on.page(&Gauges::default(), Exposition::Text);
    for principal in ["team-a", "_none"] {
        for (series, value) in [
            (
                "executions_ended_total{principal=\"P\",state=\"completed\"}",
                "1",
            ),
            (
                "executions_ended_total{principal=\"P\",state=\"failed\"}",
                "0",
            ),
            ("tokens_total{principal=\"P\",kind=\"input\"}", "3"),
            ("tokens_total{principal=\"P\",kind=\"output\"}", "0"),
            ("cost_usd_total{principal=\"P\"}", "0.5"),
        ] {
            let series = series.replace('P', principal);
            assert_line(&page, &format!("claude_api_principal_{series} {value}"));
        }
    }
    assert_line(&page, "claude_api_cost_usd_total 1.0");
}
