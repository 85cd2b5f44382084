//! The official Python SDK of MCP as a client (`tests/mcp/check.py`), over every transport.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use cc_tests::harness::{Stack, binary};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Time limit of one scenario; on a busy machine the SDK starts in seconds.
const SCENARIO: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy)]
pub(super) enum Transport {
    /// Streamable HTTP with sessions.
    Legacy,
    /// Streamable HTTP without sessions.
    Modern,
    Stdio,
}

pub(super) const ALL: [Transport; 3] = [Transport::Legacy, Transport::Modern, Transport::Stdio];

/// Returns the path of the Python that `scripts/lib/mcp-python` prepares.
pub(super) fn python() -> String {
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

/// Runs a scenario to its end; returns what it printed.
pub(super) async fn run(stack: &Stack, transport: Transport, arguments: &[&str]) -> String {
    let output = timeout(SCENARIO, check(stack, transport, arguments).output()).await;
    let output = output.expect("the scenario ends").expect("Python starts");
    let (printed, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        printed.ends_with("ok\n") && output.status.success(),
        "{transport:?} {arguments:?}: {printed}\n{errors}"
    );
    printed
}

/// A running scenario that exchanges lines with the test.
pub(super) struct Scenario {
    pub(super) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Scenario {
    pub(super) fn start(stack: &Stack, transport: Transport, arguments: &[&str]) -> Self {
        let mut command = check(stack, transport, arguments);
        command.stderr(Stdio::inherit());
        let mut child = command.spawn().expect("Python starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let lines = BufReader::new(stdout).lines();
        Self { child, lines }
    }

    pub(super) async fn expect(&mut self, line: &str) {
        let next = timeout(SCENARIO, self.lines.next_line()).await;
        let next = next.expect("a line in time").expect("a line");
        assert_eq!(next.as_deref(), Some(line));
    }

    pub(super) fn kill(&self) {
        let pid = self.child.id().expect("the scenario runs");
        let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
        kill_process(pid, Signal::KILL).expect("the scenario is killed");
    }
}

/// Asserts that the messages of the server have the types of the official SDK
/// (`tests/mcp/validate.py`).
pub(super) fn assert_valid(seen: &[Value]) {
    assert!(!seen.is_empty(), "no message was seen");
    let mut child = std::process::Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/mcp/validate.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let lines: String = seen.iter().map(|message| format!("{message}\n")).collect();
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // The script reads all its input before it ends, and writes little.
    stdin.write_all(lines.as_bytes()).expect("the script reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the script ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n");
}
