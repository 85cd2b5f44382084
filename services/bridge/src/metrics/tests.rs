//! The page as a client reads it.

use super::*;

const NOW: Now = Now {
    sessions: 3,
    inbound_bytes: 5,
    outbound_bytes: 7,
    inbound_limit_bytes: 11,
    outbound_limit_bytes: u64::MAX,
};

#[test]
fn a_refusal_counts_by_its_reason_and_an_unknown_one_as_other() {
    let metrics = Metrics::new(&Retries::default());
    let series = || metrics.page(NOW, Exposition::Text).lines().count();
    let before = series();
    // An error of the bridge's, a problem of claude-api's as the bridge names it, a problem of a page.
    for reason in [
        "parse_error",
        "queue_full",
        "foreign-host",
        "made up",
        "made up too",
    ] {
        metrics.refused(reason);
    }
    let page = metrics.page(NOW, Exposition::OpenMetrics);
    for (reason, count) in [
        ("parse_error", 1),
        ("queue_full", 1),
        ("foreign_host", 1),
        ("other", 2),
        ("internal", 0),
    ] {
        let line = format!("cc_bridge_requests_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(page.contains(&line), "{line}{page}");
    }
    assert_eq!(series(), before, "a refusal makes no new series");
}

#[test]
fn a_page_has_what_is_there_now_and_the_retries_of_the_upstream() {
    let retries = Retries::default();
    let metrics = Metrics::new(&retries);
    retries.clone().follow.inc();
    let page = metrics.page(NOW, Exposition::Text);
    for line in [
        "cc_bridge_sessions 3",
        "cc_bridge_inbound_bytes 5",
        "cc_bridge_outbound_bytes 7",
        "cc_bridge_inbound_limit_bytes 11",
        "cc_bridge_outbound_limit_bytes 9223372036854775807",
        r#"cc_bridge_retries_total{request="follow"} 1"#,
        r#"cc_bridge_retries_total{request="execute"} 0"#,
        "cc_bridge_received_bytes_total 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
}
