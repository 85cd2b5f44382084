//! The page of metrics, as a client reads it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{ProblemType, Reason};

use super::registry::REASONS;
use super::*;

const SNAPSHOT: Snapshot = Snapshot {
    sessions: 3,
    session_limit: 4,
    inbound_bytes: 5,
    outbound_bytes: 7,
    inbound_limit_bytes: 11,
    outbound_limit_bytes: u64::MAX,
};

#[test]
fn a_refusal_counts_by_its_reason_and_an_unknown_one_as_other() {
    let metrics = Metrics::new(&Retries::default(), &telemetry::Counters::default());
    let series = || metrics.page(SNAPSHOT, Exposition::Text).lines().count();
    let before = series();
    // An error of the bridge, a problem of claude-api under the bridge's name, a problem of a page.
    for reason in [
        "parse_error",
        "queue_full",
        "foreign-host",
        "made up",
        "made up too",
    ] {
        metrics.refused(reason);
    }
    let page = metrics.page(SNAPSHOT, Exposition::OpenMetrics);
    for (reason, count) in [
        ("parse_error", 1),
        ("queue_full", 1),
        ("foreign_host", 1),
        ("other", 2),
        ("internal", 0),
    ] {
        let line = format!("bridge_requests_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(page.contains(&line), "{line}{page}");
    }
    assert_eq!(series(), before, "a refusal makes no new series");
}

#[test]
fn every_refusal_of_the_bridge_of_mcp_and_of_claude_api_has_a_series() {
    let problems = ProblemType::ALL.iter().map(|kind| kind.as_str());
    // The readiness page has this type, but it refuses no request.
    let problems = problems.filter(|kind| *kind != ProblemType::NotReady.as_str());
    let own = REASONS
        .into_iter()
        .chain(crate::metrics::mcp_reasons::REASONS);
    for reason in own.chain(mcp::REASONS).chain(problems) {
        let metrics = Metrics::new(&Retries::default(), &telemetry::Counters::default());
        metrics.refused(reason);
        let page = metrics.page(SNAPSHOT, Exposition::Text);
        let label = reason.replace('-', "_");
        let line = format!("bridge_requests_refused_total{{reason=\"{label}\"}} 1");
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
}

#[test]
fn the_reason_of_an_end_is_no_reason_of_a_refusal() {
    let page = Metrics::new(&Retries::default(), &telemetry::Counters::default())
        .page(SNAPSHOT, Exposition::Text);
    for reason in Reason::ALL {
        let label = format!("reason=\"{}\"", reason.as_str());
        assert!(!page.contains(&label), "{label}");
    }
}

#[test]
fn a_page_has_what_is_there_now_and_the_retries_of_the_upstream() {
    let retries = Retries::default();
    let metrics = Metrics::new(&retries, &telemetry::Counters::default());
    retries.clone().follow.inc();
    let page = metrics.page(SNAPSHOT, Exposition::Text);
    for line in [
        "bridge_sessions 3",
        "bridge_sessions_limit 4",
        "bridge_inbound_bytes 5",
        "bridge_outbound_bytes 7",
        "bridge_inbound_limit_bytes 11",
        "bridge_outbound_limit_bytes 9223372036854775807",
        r#"bridge_retries_total{request="follow"} 1"#,
        r#"bridge_retries_total{request="execute"} 0"#,
        "bridge_received_bytes_total 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
}

#[test]
fn the_start_time_is_on_the_page() {
    let page = Metrics::new(&Retries::default()).page(SNAPSHOT, Exposition::Text);
    let name = "bridge_start_time_seconds ";
    let start = page.lines().find_map(|line| line.strip_prefix(name));
    let started = Duration::from_secs_f64(start.unwrap().parse().unwrap());
    let age = SystemTime::now().duration_since(UNIX_EPOCH + started);
    assert!(age.unwrap() < Duration::from_secs(60), "{started:?}");
}
