//! `ccb mcp` as a child process, with its stdin and stdout as lines.

use std::process::{ExitStatus, Stdio};

use cc_tests::harness::{Stack, binary};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::raw_client::MODERN;
use crate::support::PATIENCE;

/// `ccb mcp` in one protocol version.
#[derive(Debug)]
pub(super) struct StdioClient {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    version: &'static str,
    seen: Vec<Value>,
}

impl StdioClient {
    pub(super) fn start(stack: &Stack, version: &'static str) -> Self {
        let mut child = Command::new(binary("ccb"))
            .arg("mcp")
            .env("CCB_URL", format!("ws://{}/ws", stack.ws_addr()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("ccb starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        Self {
            stdin: child.stdin.take().expect("stdin is a pipe"),
            lines: BufReader::new(stdout).lines(),
            child,
            version,
            seen: Vec::new(),
        }
    }

    /// Starts `ccb mcp` and initializes the session in the versions that have one.
    pub(super) async fn open(stack: &Stack, version: &'static str) -> Self {
        let mut program = Self::start(stack, version);
        if version != MODERN {
            let params = json!({
                        "protocolVersion": version,
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            });
            let answer = program.ask(1, "initialize", params).await;
            assert_eq!(answer["result"]["protocolVersion"], version);
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            program.write(&ready.to_string()).await;
        }
        program
    }

    pub(super) async fn write(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stdin
            .write_all(line.as_bytes())
            .await
            .expect("`ccb mcp` reads");
    }

    /// Returns the next line, which must be a message; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a line in time").expect("UTF-8")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Sends a request, complete for the protocol version.
    pub(super) async fn send(&mut self, id: u64, method: &str, mut params: Value) {
        if self.version == MODERN {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(&message.to_string()).await;
    }

    /// Sends a request and returns the answer, which must be the next message.
    pub(super) async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(id, method, params).await;
        let answer = self.next().await.expect("an answer");
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &json!(id)),
            "{answer}"
        );
        self.seen
            .push(json!({"version": self.version, "method": method, "message": answer}));
        answer
    }

    /// Closes stdin and waits for the exit; ignores stdout.
    pub(super) async fn leave(mut self) -> ExitStatus {
        drop(self.stdin);
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("`ccb mcp` ends when stdin is closed");
        status.expect("an exit status")
    }

    /// Closes stdin and waits for the exit, after which stdout must be empty. Returns all answers.
    pub(super) async fn finish(mut self) -> Vec<Value> {
        drop(self.stdin);
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status
            .expect("`ccb mcp` ends when stdin is closed")
            .expect("an exit status");
        assert!(status.success(), "{status}");
        let rest = self.lines.next_line().await.expect("UTF-8");
        assert_eq!(rest, None, "a message after the end");
        self.seen
    }
}
