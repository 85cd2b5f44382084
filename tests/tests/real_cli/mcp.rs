//! The real CLI as an MCP client of the bridge, with the `.mcp.json` of this repository.
//!
//! The CLI gives up a tool call over HTTP that is silent for `CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT`,
//! by default 300 s; each progress notification restarts the time. The minimum is 1 s.

use std::path::Path;
use std::process::{Output, Stdio};

use cc_tests::harness::{Stack, StackOptions};
use cc_tests::model;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::{PATIENCE, claude};

/// Runs the CLI in a folder with a copy of the repository's `.mcp.json`, with more environment.
async fn run(
    stack: &Stack,
    model: &str,
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Output {
    let make = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    };
    let (work, config) = (make("work"), make("home/.claude"));
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../.mcp.json");
    std::fs::copy(ours, work.join(".mcp.json")).expect("the repository has a .mcp.json");
    // A user answers this question once, in a terminal.
    let settings = json!({"enableAllProjectMcpServers": true}).to_string();
    std::fs::write(config.join("settings.json"), settings).expect("a file");
    let output = Command::new(claude())
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", make("home"))
        .env("CLAUDE_CONFIG_DIR", config)
        .envs([("TMPDIR", make("tmp")), ("CLAUDE_CODE_TMPDIR", make("tmp"))])
        .env("CCB_BRIDGE_PORT", stack.bridge.addr().port().to_string())
        .envs([
            ("ANTHROPIC_BASE_URL", model),
            ("ANTHROPIC_API_KEY", "a-key"),
            ("LANG", "C.UTF-8"),
            ("ENABLE_TOOL_SEARCH", "false"),
        ])
        .envs(
            [
                "DISABLE_TELEMETRY",
                "DISABLE_AUTOUPDATER",
                "DISABLE_ERROR_REPORTING",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            ]
            .map(|name| (name, "1")),
        )
        .envs(environment.iter().copied())
        .current_dir(work)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    output
        .expect("the CLI ends in time")
        .expect("the CLI starts")
}

/// Runs a prompt in the CLI, which may call `execute`; returns the CLI's result.
async fn answer(
    stack: &Stack,
    model: &str,
    folder: &Path,
    prompt: &str,
    environment: &[(&str, &str)],
) -> Value {
    let arguments = [
        "-p",
        prompt,
        "--output-format",
        "json",
        "--mcp-config",
        ".mcp.json",
        "--strict-mcp-config",
        "--allowedTools",
        "mcp__cc-bridge__execute",
    ];
    let answered = run(stack, model, folder, &arguments, environment).await;
    let text = String::from_utf8_lossy(&answered.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn mcp_the_cli_connects_with_the_repositorys_mcp_json_and_executes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let config = model::Config::default();
    let server = tokio::spawn(model::serve(listener, config, std::future::pending()));
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");

    let listed = run(&stack, &base, folder.path(), &["mcp", "list"], &[]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let line = listed.lines().find(|line| line.starts_with("cc-bridge:"));
    assert!(
        line.is_some_and(|line| line.contains("Connected")),
        "{listed}"
    );

    let prompt = r#"@tool mcp__cc-bridge__execute {"prompt": "@say hello over MCP"}"#;
    let result = answer(&stack, &base, folder.path(), prompt, &[]).await;
    assert_eq!(result["is_error"], false, "{result}");
    let text = result["result"].as_str().unwrap_or_default();
    assert!(text.contains("hello over MCP"), "{result}");
    let mut client = stack.client().await;
    let page = client
        .call("list", json!({"limit": 10}))
        .await
        .expect("a page");
    assert_eq!(
        page["executions"].as_array().map(Vec::len),
        Some(1),
        "{page}"
    );
    client.finish().await;
    server.abort();
    stack.assert_quiet();
}

/// Six minutes of silence against the CLI's limit of five, at a scale of 1 to 30. The limit is 10
/// s, and the bridge sends progress every 0.5 s. The CLI checks every 30 s, so an execution is
/// silent for 35 s. Without progress the CLI gives the call up, which shows that the limit is in
/// force; the execution then continues.
#[tokio::test]
async fn mcp_a_silent_execute_is_not_given_up_by_the_cli() {
    tokio::join!(silent("500", false), silent("3600000", true));
}

/// Calls a silent `execute` with this interval of progress.
async fn silent(progress_ms: &str, given_up: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let config = model::Config::default();
    let server = tokio::spawn(model::serve(listener, config, std::future::pending()));
    let options = StackOptions::default().bridge(format!("--mcp-progress-ms={progress_ms}"));
    let stack = Stack::with(options).await;
    let folder = tempfile::tempdir().expect("a folder");
    let id = uuid::Uuid::new_v4().to_string();
    let arguments = json!({"prompt": "@silence 35\n@say after the silence", "executionId": id});
    let prompt = format!("@tool mcp__cc-bridge__execute {arguments}");
    let limit = [("CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT", "10000")];
    let result = answer(&stack, &base, folder.path(), &prompt, &limit).await;
    let text = result["result"].as_str().unwrap_or_default();
    for (part, expected) in [
        ("after the silence", !given_up),
        ("sent no response or progress for", given_up),
    ] {
        assert_eq!(text.contains(part), expected, "{progress_ms} ms: {result}");
    }
    let ended = stack.http().follow_to_end(&id).await.expect("statuses");
    assert_eq!(ended.last().expect("a status")["state"], "completed");
    assert_eq!(stack.spawns(&id), 1);
    server.abort();
    stack.assert_quiet();
}
