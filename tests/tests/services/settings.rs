//! S17: every setting by flag and by environment, logs as JSON lines without secrets, and the
//! healthchecks.

use std::process::{Command, Stdio};

use cc_tests::{
    harness::{Service, Stack, StackOptions, binary, stack::bridge_options},
    http::Http,
};
use serde_json::{Value, json};

use crate::{
    startup::ready,
    support::{id, run},
};

#[tokio::test]
async fn s17_the_environment_sets_each_setting_without_a_flag() {
    let options = StackOptions::default()
        .env("CLAUDE_API_RUNNING_EXECUTIONS", "3")
        .env("CLAUDE_API_KEPT_BYTES", "12345678")
        .env("CLAUDE_API_KEPT_LINES", "4321")
        .env("CLAUDE_API_DRAIN_MS", "777")
        .env("CLAUDE_API_HEARTBEAT_MS", "1")
        .api("--heartbeat-ms=4000");
    let stack = Stack::with(options).await;
    let (code, limits) = stack.http().get("/v1/limits").await.expect("an answer");
    assert_eq!(code.as_u16(), 200);
    for (name, value) in [
        ("runningExecutions", 3),
        ("keptBytes", 12_345_678),
        ("keptLines", 4321),
        ("drainMs", 777),
        ("heartbeatMs", 4000),
        ("promptBytes", 4 << 20),
        ("queuedPerLane", 32),
    ] {
        assert_eq!(limits[name], value, "{name}: {limits}");
    }
    // The bridge forwards these limits, with its own.
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = bridge_options(folder.path(), stack.api.addr(), &StackOptions::default());
    options
        .environment
        .push(("BRIDGE_BATCH".into(), "7".into()));
    let bridge = Service::start(options).await;
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        // The limits are null while they are unknown: the bridge never waits for them.
        let client = cc_tests::ws::Client::connect(bridge.addr()).await;
        let limits = client.connected()["limits"].clone();
        client.finish().await;
        if !limits.is_null() && limits["runningExecutions"] == 3 {
            assert_eq!(
                (&limits["batch"], &limits["keptBytes"]),
                (&json!(7), &json!(12_345_678)),
                "{limits}"
            );
            break;
        }
        assert!(
            std::time::Instant::now() < end,
            "the limits are never known: {limits}"
        );
    }
}

#[tokio::test]
async fn s17_logs_are_json_lines_and_contain_no_secret() {
    let stack =
        Stack::with(StackOptions::default().env("ANTHROPIC_API_KEY", "sk-secret-of-the-operator"))
            .await;
    let mut client = stack.client().await;
    let secret = id();
    let (_, end) = client.run(&format!("@say x\n{secret}")).await;
    client
        .call("execute", json!({"prompt": 7, "secret": secret}))
        .await
        .expect_err("refused");
    client.finish().await;
    run(
        &stack,
        &format!("@exit 3\n{secret}"),
        json!({"systemPrompt": secret}),
    )
    .await;
    let execution = end["executionId"].as_str().expect("an id");
    for (name, service) in [("claude-api", &stack.api), ("bridge", &stack.bridge)] {
        let log = service.log();
        for line in log.lines() {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
            assert!(
                line["timestamp"].is_string() && line["level"].is_string(),
                "{name}: {line}"
            );
        }
        assert!(!log.contains(&secret), "{name} logs a prompt: {log}");
        assert!(!log.contains("sk-secret"), "{name} logs the key: {log}");
    }
    // One wide line per execution.
    let lines = stack
        .api
        .lines()
        .into_iter()
        .filter(|line| line["execution"] == execution)
        .count();
    assert_eq!(lines, 1, "{}", stack.api.log());
}

/// Runs the healthcheck of a service against `url`; returns its exit code.
pub(crate) fn healthcheck(service: &str, url: &str) -> Option<i32> {
    let mut command = Command::new(binary(service));
    command.args(["healthcheck", "--url", url]).env_clear();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("the binary starts").code()
}

#[tokio::test]
async fn the_healthchecks_agree_with_the_pages() {
    let mut stack = Stack::start().await;
    ready(&stack).await;
    let (api, bridge) = (
        stack.api.url("/health/startup"),
        stack.bridge.url("/health/live"),
    );
    let not_ready = Stack::with(StackOptions {
        claude_bin: Some("/nonexistent/claude".into()),
        ..StackOptions::default()
    })
    .await;
    crate::startup::health(&Http::new(not_ready.api.addr()), "/health/startup", 503).await;
    for (service, url, code) in [
        ("claude-api", api.as_str(), 0),
        ("bridge", bridge.as_str(), 0),
        (
            "claude-api",
            not_ready.api.url("/health/startup").as_str(),
            1,
        ),
        ("claude-api", stack.api.url("/nowhere").as_str(), 1),
    ] {
        assert_eq!(healthcheck(service, url), Some(code), "{service} {url}");
    }
    stack.api.kill();
    stack.bridge.kill();
    assert_eq!(
        (
            healthcheck("claude-api", &api),
            healthcheck("bridge", &bridge)
        ),
        (Some(1), Some(1))
    );
}
