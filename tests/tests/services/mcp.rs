//! MCP, driven by the official Python SDK (`tests/mcp/check.py`) over every transport.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cc_tests::harness::{Stack, StackOptions, binary};
use cc_tests::http::Http;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::metrics;
use crate::support::{PATIENCE, assert_problem, id, path, send};

/// The longest time of one scenario; the SDK starts in seconds on a busy machine.
const SCENARIO: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy)]
enum Transport {
    /// Streamable HTTP with sessions.
    Legacy,
    /// Streamable HTTP without sessions.
    Modern,
    Stdio,
}

const ALL: [Transport; 3] = [Transport::Legacy, Transport::Modern, Transport::Stdio];

/// The Python that `scripts/lib/mcp-python` prepares.
fn python() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/mcp-python");
    let output = std::process::Command::new(script).output();
    let output = output.expect("scripts/lib/mcp-python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "no Python with the SDK: {errors}");
    let path = String::from_utf8(output.stdout).expect("a path");
    path.trim().to_owned()
}

fn check(stack: &Stack, transport: Transport, arguments: &[&str]) -> Command {
    let (name, target) = match transport {
        Transport::Legacy => ("legacy", stack.bridge.url("/mcp")),
        Transport::Modern => ("modern", stack.bridge.url("/mcp")),
        Transport::Stdio => ("stdio", binary("ccb").to_string_lossy().into_owned()),
    };
    let mut command = Command::new(python());
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/mcp/check.py"))
        .args([name, &target])
        .args(arguments)
        .env("CCB_URL", format!("ws://{}/ws", stack.ws_addr()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a scenario to its end; what it printed.
async fn run(stack: &Stack, transport: Transport, arguments: &[&str]) -> String {
    let output = timeout(SCENARIO, check(stack, transport, arguments).output()).await;
    let output = output.expect("the scenario ends").expect("Python starts");
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        said.ends_with("ok\n") && output.status.success(),
        "{transport:?} {arguments:?}: {said}\n{errors}"
    );
    said
}

/// A scenario that talks to the test.
struct Talk {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    fn start(stack: &Stack, transport: Transport, arguments: &[&str]) -> Self {
        let mut command = check(stack, transport, arguments);
        command.stderr(Stdio::inherit());
        let mut child = command.spawn().expect("Python starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let lines = BufReader::new(stdout).lines();
        Self { child, lines }
    }

    async fn expect(&mut self, line: &str) {
        let next = timeout(SCENARIO, self.lines.next_line()).await;
        let next = next.expect("a line in time").expect("a line");
        assert_eq!(next.as_deref(), Some(line));
    }

    fn kill(&self) {
        let pid = self.child.id().expect("it runs");
        let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it can be killed");
    }
}

async fn state(stack: &Stack, execution: &str) -> Value {
    let request = stack.http().request(Method::GET, &path(execution, ""));
    let response = request.send().await.expect("an answer");
    let body = response.bytes().await.expect("a body");
    serde_json::from_slice::<Value>(&body).unwrap_or_default()["state"].take()
}

async fn until(stack: &Stack, execution: &str, wanted: &str) {
    timeout(PATIENCE, async {
        while state(stack, execution).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{execution} does not become {wanted}"));
}

#[tokio::test]
async fn mcp_every_tool_answers_over_every_transport() {
    let stack = Stack::start().await;
    for transport in ALL {
        run(&stack, transport, &["tools"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_resources_are_listed_and_read_over_every_transport() {
    let stack = Stack::start().await;
    for transport in ALL {
        run(&stack, transport, &["resources"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_refusals_have_the_text_and_reason_of_the_websocket() {
    let stack = Stack::start().await;
    let mut client = stack.client().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    let mut want = json!({});
    for (name, method, params) in [
        ("unknown", "status", json!({"executionId": unknown})),
        (
            "control",
            "control",
            json!({"type": "PAUSE", "executionId": unknown}),
        ),
        ("attach", "attach", json!({"executionId": unknown})),
        (
            "workspace",
            "execute",
            json!({"prompt": "x", "workspace": "../up"}),
        ),
        ("blank", "execute", json!({"prompt": " "})),
        ("field", "execute", json!({"prompt": "x", "modle": "y"})),
        (
            "mode",
            "execute",
            json!({"prompt": "x", "permissionMode": "bypassPermissions"}),
        ),
    ] {
        let mut params = params;
        if method == "execute" {
            params["executionId"] = id().into();
        }
        let error = client.call(method, params).await.expect_err(name);
        want[name] = json!([error["message"], error["data"]["reason"]]);
    }
    client.finish().await;
    for transport in ALL {
        let said = run(&stack, transport, &["refusals"]).await;
        let found: Value =
            serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
        assert_eq!(found, want, "{transport:?}");
    }
    stack.assert_quiet();
}

/// Six minutes of silence at the default of 15 s are 24 notifications; here 2 s at 100 ms.
#[tokio::test]
async fn mcp_a_silent_execution_sends_progress() {
    let stack = Stack::with(StackOptions::default().bridge("--mcp-progress-ms=100")).await;
    for transport in [Transport::Legacy, Transport::Modern] {
        run(&stack, transport, &["progress"]).await;
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_cancelled_call_cancels_its_execution() {
    for transport in [Transport::Legacy, Transport::Stdio] {
        let stack = Stack::start().await;
        let mark = stack.path("mark");
        run(&stack, transport, &["cancel", &mark.to_string_lossy()]).await;
        stack.assert_quiet();
    }
}

async fn vanish(stack: &Stack, transport: Transport, on_disconnect: &str, go: &Path) -> String {
    let execution = id();
    let prompt = format!("@wait {}\n@say survived", go.display());
    let arguments =
        json!({"prompt": prompt, "executionId": execution, "onDisconnect": on_disconnect});
    let mut talk = Talk::start(stack, transport, &["leave", &arguments.to_string()]);
    talk.expect("calling").await;
    until(stack, &execution, "running").await;
    talk.kill();
    execution
}

#[tokio::test]
async fn mcp_a_client_that_vanishes_cancels_only_what_it_asked_to() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=200");
    let stack = Stack::with(options).await;
    for transport in ALL {
        let go = stack.path(&id());
        let cancelled = vanish(&stack, transport, "cancel", &go).await;
        until(&stack, &cancelled, "cancelled").await;
        let kept = vanish(&stack, transport, "continue", &go).await;
        std::fs::write(&go, "").expect("a mark");
        until(&stack, &kept, "completed").await;
        assert_eq!(stack.spawns(&kept), 1);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_restart_of_the_bridge_loses_no_task() {
    for transport in [Transport::Modern, Transport::Stdio] {
        let mut stack = Stack::start().await;
        let mut talk = Talk::start(&stack, transport, &["tasks"]);
        talk.expect("restart").await;
        stack.crash_bridge().await;
        let stdin = talk.child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(b"\n").await.expect("it reads");
        talk.expect("ok").await;
    }
}

#[tokio::test]
async fn mcp_calls_sessions_and_bodies_are_bounded() {
    let options = StackOptions::default()
        .bridge("--mcp-calls=1")
        .bridge("--mcp-sessions=2")
        .bridge("--message-bytes=100000");
    let stack = Stack::with(options).await;
    let http = Http::new(stack.bridge.addr());
    let call = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let initialize = call(
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
    );
    let post = async |body: &Value, session: Option<&str>| {
        let mut request = http
            .request(Method::POST, "/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request
            .body(body.to_string())
            .send()
            .await
            .expect("an answer")
    };
    let large = json!({"x": "y".repeat(100_000)});
    let answer = send(&http, Method::POST, "/mcp", large.to_string()).await;
    assert_problem(&answer, 413, "too-large", "a large body");
    let answer = send(&http, Method::POST, "/mcp", r#"{"id":1,"id":2}"#).await;
    assert_problem(&answer, 400, "invalid-body", "a repeated member");

    let first = post(&initialize, None).await;
    let session = first.headers()["mcp-session-id"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let second = post(&initialize, None).await;
    assert_eq!(second.status(), 200);
    let third = post(&initialize, None).await;
    assert_eq!(third.status(), 503);
    let problem: Value = third.json().await.expect("a problem");
    assert_eq!(problem["type"], "too-many-streams");
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(&ready, Some(&session)).await.status(), 202);
    let held = id();
    let mut silent = call(
        "tools/call",
        json!({"name": "execute", "arguments": {"prompt": "@silence 600", "executionId": held}}),
    );
    silent["id"] = 7.into();
    let _held = post(&silent, Some(&session)).await;
    // It holds its place by then.
    until(&stack, &held, "running").await;
    let refusal = eventually_refused(&post, &session, &call).await;
    assert!(refusal.contains("1 MCP calls run already"), "{refusal}");
    let page = metrics::page(stack.bridge.addr()).await;
    for (reason, count) in [
        ("too_many_calls", 1.0),
        ("too_many_streams", 1.0),
        ("too_large", 1.0),
        ("invalid_body", 1.0),
        ("other", 0.0),
    ] {
        let counted = page.sum("cc_bridge_requests_refused_total", &[("reason", reason)]);
        assert_eq!(counted, count, "{reason}");
    }
    let gone = http
        .request(Method::DELETE, "/mcp")
        .header("mcp-session-id", &session)
        .send()
        .await;
    assert_eq!(gone.expect("an answer").status(), 202);
    stack.assert_quiet();
}

/// The answer to an `output` while all places for views are taken.
async fn eventually_refused(
    post: &impl AsyncFn(&Value, Option<&str>) -> reqwest::Response,
    session: &str,
    call: &impl Fn(&str, Value) -> Value,
) -> String {
    let unknown = "00000000-0000-4000-8000-000000000000";
    let mut body = call(
        "tools/call",
        json!({"name": "output", "arguments": {"executionId": unknown}}),
    );
    for number in 10..1000 {
        body["id"] = number.into();
        let answer = post(&body, Some(session)).await.text().await.expect("text");
        if answer.contains("too_many_calls") {
            return answer;
        }
    }
    panic!("no call was refused");
}
