//! Readiness, limits and room on the disk, for alerts.

use cc_tests::harness::{Stack, StackOptions};

use super::{page, until};
use crate::support::run;

#[tokio::test]
async fn metrics_say_whether_an_execution_would_start_and_why_not() {
    let stack = Stack::with(StackOptions::default().env("ANTHROPIC_API_KEY", "")).await;
    let api = stack.api.addr();
    let missing = [("reason", "credential_missing")];
    until(api, "claude_api_obstacles", &missing, 1.0).await;
    // The first check of the CLI takes a moment.
    let page = until(api, "claude_api_obstacles", &[], 1.0).await;
    assert_eq!(page.sum("claude_api_ready", &[]), 0.0);
    let warning = page.sum("claude_api_warnings", &[("reason", "sandbox_off")]);
    assert_eq!(warning, 1.0, "the tests run without the sandbox");
    stack.assert_quiet();
}

#[tokio::test]
async fn a_refused_credential_is_an_obstacle_until_an_execution_succeeds() {
    let stack = Stack::start().await;
    let api = stack.api.addr();
    until(api, "claude_api_ready", &[], 1.0).await;
    let refused = [("reason", "credential_refused")];
    for (prompt, expected) in [("@result 401", 1.0), ("@say x", 0.0)] {
        run(&stack, prompt, serde_json::json!({})).await;
        let page = until(api, "claude_api_obstacles", &refused, expected).await;
        assert_eq!(page.sum("claude_api_ready", &[]), 1.0 - expected);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn metrics_have_the_limits_the_room_on_the_disk_and_the_start_times() {
    let options = StackOptions::default()
        .api("--running-executions=3")
        .api("--queued=17")
        .api("--retention-bytes=1000000000")
        .bridge("--sessions=5")
        .one_bridge();
    let mut stack = Stack::with(options).await;
    let (api, bridge) = (stack.api.addr(), stack.bridge.addr());
    let api_page = page(api).await;
    for (name, labels, expected) in [
        (
            "claude_api_executions_limit",
            &[("state", "running")][..],
            3.0,
        ),
        ("claude_api_executions_limit", &[("state", "queued")], 17.0),
        ("claude_api_spool_limit_bytes", &[], 1e9),
    ] {
        assert_eq!(api_page.sum(name, labels), expected, "{name} {labels:?}");
    }
    let bridge_page = page(bridge).await;
    assert_eq!(bridge_page.sum("bridge_sessions_limit", &[]), 5.0);
    let disk = rustix::fs::statvfs(&stack.path("spool")).expect("a file system");
    let free = api_page.sum("claude_api_spool_free_bytes", &[]);
    let size = (disk.f_blocks * disk.f_frsize) as f64;
    assert!(free > 0.0 && free <= size, "{free} of {size} bytes");
    let start = api_page.sum("claude_api_start_time_seconds", &[]);
    let now = jiff::Timestamp::now().as_duration().as_secs_f64();
    assert!((now - 120.0..=now).contains(&start), "{start}, now {now}");
    let bridge_start = bridge_page.sum("bridge_start_time_seconds", &[]);
    assert!((start..=now).contains(&bridge_start), "{bridge_start}");
    stack.crash_api().await;
    let again = page(api).await;
    assert!(again.sum("claude_api_start_time_seconds", &[]) > start);
    stack.assert_quiet();
}
