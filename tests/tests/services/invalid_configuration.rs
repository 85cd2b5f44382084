//! Invalid configurations: all mistakes are reported together, with exit code 64, before anything
//! is bound.

use cc_tests::harness::{
    Service, ServiceOptions, Stack, StackOptions,
    stack::{api_options, bridge_options},
};
use serde_json::json;

use crate::support::{PATIENCE, run};

/// Starts a service that must exit with 64 and name each of `flags`.
async fn assert_all_reported(service: ServiceOptions, flags: &[&str]) {
    let (status, log) = Service::run_to_end(service, PATIENCE).await;
    assert_eq!(status.code(), Some(64), "{log}");
    let missing: Vec<_> = flags.iter().filter(|flag| !log.contains(**flag)).collect();
    assert!(
        missing.is_empty(),
        "the log does not name {missing:?}:\n{log}"
    );
}

#[tokio::test]
async fn claude_api_reports_all_configuration_mistakes_together_and_exits_64() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions::default()
        .api("--port=70000")
        .api("--host=nowhere")
        .api("--running-executions=0")
        .api("--heartbeat-ms=soon")
        .api("--log-format=xml")
        .api("--log-level=a=b=c")
        .api("--permission-mode=everything")
        .api("--allowed-tools=(")
        .api("--allowed-env=LD_PRELOAD")
        .env("CLAUDE_API_DRAIN_MS", "-1")
        .env("CLAUDE_API_QUEUED", "many");
    let mut service = api_options(folder.path(), &options);
    service.arguments.retain(|argument| argument != "--port=0");
    let flags = [
        "--port",
        "--host",
        "--running-executions",
        "--heartbeat-ms",
        "--log-format",
        "--log-level",
        "--permission-mode",
        "--allowed-tools",
        "--allowed-env",
        "--drain-ms",
        "--queued",
    ];
    assert_all_reported(service, &flags).await;
}

#[tokio::test]
async fn the_bridge_reports_all_configuration_mistakes_together_and_exits_64() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions::default()
        .bridge("--host=nowhere")
        .bridge("--sessions=0")
        .bridge("--ping-ms=soon")
        .bridge("--log-format=xml")
        .bridge("--log-level=a=b=c")
        .bridge("--allowed-origins=app.example")
        .bridge("--batch=-1");
    let addr = "127.0.0.1:1".parse().expect("an address");
    let mut service = bridge_options(folder.path(), addr, &options);
    service
        .arguments
        .retain(|argument| argument != "--port=0" && !argument.starts_with("--claude-api-url"));
    for (name, value) in [
        ("BRIDGE_PORT", "70000"),
        ("BRIDGE_CLAUDE_API_URL", "ftp://x"),
    ] {
        service.environment.push((name.into(), value.into()));
    }
    let flags = [
        "--port",
        "--host",
        "--claude-api-url",
        "--sessions",
        "--ping-ms",
        "--log-format",
        "--log-level",
        "--allowed-origins",
        "--batch",
    ];
    assert_all_reported(service, &flags).await;
}

#[tokio::test]
async fn unknown_flags_exit_64_and_a_port_in_use_is_named() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = StackOptions::default();
    for (service, addr) in [
        (api_options(folder.path(), &options), stack.api.addr()),
        (
            bridge_options(folder.path(), stack.api.addr(), &options),
            stack.bridge.addr(),
        ),
    ] {
        let mut unknown = service.clone();
        unknown.arguments.push("--no-such-flag".into());
        let (status, log) = Service::run_to_end(unknown, PATIENCE).await;
        assert_eq!(status.code(), Some(64), "{log}");
        assert!(log.contains("--no-such-flag"), "{log}");
        let mut taken = service.clone();
        taken.log = folder.path().join("taken.log");
        for argument in &mut taken.arguments {
            if argument == "--port=0" {
                *argument = format!("--port={}", addr.port());
            }
        }
        let name = taken.name.clone();
        let (status, log) = Service::run_to_end(taken, PATIENCE).await;
        assert!(
            !status.success() && status.code() != Some(64),
            "{name}: {status}"
        );
        let port = addr.port().to_string();
        assert!(
            log.contains(&port) && log.contains("--port") && !log.contains("panicked"),
            "{name}: {log}"
        );
    }
    assert_eq!(run(&stack, "@say alive", json!({})).await.0, "alive");
    stack.assert_quiet();
}
