//! The transport over stdin and stdout: one message a line, and nothing else on stdout.

use std::process::Stdio;

use cc_tests::harness::{Stack, binary};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::super::raw::{LEGACY, MODERN, VERSIONS};
use super::super::sdk::assert_valid;
use crate::support::PATIENCE;

/// `ccb mcp` in one protocol version.
struct Program {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    version: &'static str,
    seen: Vec<Value>,
}

impl Program {
    fn start(stack: &Stack, version: &'static str) -> Self {
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

    async fn open(stack: &Stack, version: &'static str) -> Self {
        let mut program = Self::start(stack, version);
        if version != MODERN {
            let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
            let answer = program.ask(1, "initialize", params).await;
            assert_eq!(answer["result"]["protocolVersion"], version);
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            program.write(&ready.to_string()).await;
        }
        program
    }

    async fn write(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stdin
            .write_all(line.as_bytes())
            .await
            .expect("it reads");
    }

    /// The next line, which must be a message. None at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a line in time").expect("UTF-8")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    async fn ask(&mut self, id: u64, method: &str, mut params: Value) -> Value {
        if self.version == MODERN {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(&message.to_string()).await;
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

    /// Closes stdin and waits for the end.
    async fn finish(mut self) -> Vec<Value> {
        drop(self.stdin);
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status
            .expect("it ends when stdin is closed")
            .expect("it can be waited for");
        assert!(status.success(), "{status}");
        let rest = self.lines.next_line().await.expect("UTF-8");
        assert_eq!(rest, None, "a message after the end");
        self.seen
    }
}

#[tokio::test]
async fn mcp_stdio_answers_one_message_a_line_and_ends_with_stdin() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut program = Program::open(&stack, version).await;
        let tools = program.ask(2, "tools/list", json!({})).await;
        assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(7));
        // A text with line ends stays one line.
        let call = json!({"name": "execute", "arguments": {"prompt": "@say a\\nb\u{2028}c"}});
        let answer = program.ask(3, "tools/call", call).await;
        assert_eq!(
            answer["result"]["content"][0]["text"], "a\nb\u{2028}c",
            "{version}"
        );
        let unknown = program.ask(4, "unknown/method", json!({})).await;
        assert_eq!(unknown["error"]["code"], -32601, "{version}");
        let unknown = program
            .ask(5, "tools/call", json!({"name": "unknown"}))
            .await;
        assert_eq!(unknown["error"]["code"], -32602, "{version}");
        seen.extend(program.finish().await);
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_stdio_answers_discover_and_unsupported_versions_before_anything_else() {
    let stack = Stack::start().await;
    let mut program = Program::start(&stack, MODERN);
    let answer = program.ask(1, "server/discover", json!({})).await;
    assert_eq!(answer["result"]["supportedVersions"], json!(VERSIONS));
    assert_valid(&program.finish().await);
    let mut program = Program::start(&stack, MODERN);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2099-01-01",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message =
        json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}});
    program.write(&message.to_string()).await;
    let answer = program.next().await.expect("an answer");
    assert_eq!(answer["error"]["code"], -32022, "{answer}");
    assert_eq!(answer["error"]["data"]["supported"], json!(VERSIONS));
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_stdio_goes_on_after_a_line_that_is_no_message() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut program = Program::open(&stack, version).await;
        let tools = program.ask(2, "tools/list", json!({})).await;
        assert!(tools["result"]["tools"].is_array());
        for line in ["", "{", "7", "[]", "{}"] {
            program.write(line).await;
        }
        let message = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
        }}});
        let message = if version == MODERN {
            message
        } else {
            json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})
        };
        program.write(&message.to_string()).await;
        // Each bad line may have an error without an id of a request.
        let answer = loop {
            let next = program.next().await.expect("an answer");
            if next["id"] == 3 {
                break next;
            }
            assert!(
                next["error"]["code"].is_i64() && next["id"].is_null(),
                "{next}"
            );
        };
        assert!(answer["result"]["tools"].is_array(), "{version}: {answer}");
    }
    stack.assert_quiet();
}
