//! Attempts with an MCP server that the CLI reaches over HTTP. The operator lists its URL, and
//! allows one of its tools.

use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::attempt::{Attempt, MAKE_OUTSIDE, attempt};
use super::reply;
use super::table::{Table, operator};

/// The tool that the operator allows.
const LOOK: &str = "@tool mcp__remote__look {\"path\":\"$OUT/broken\"}";
/// Another tool of the same server.
const MAKE: &str = "@tool mcp__remote__make {\"path\":\"$OUT/broken\"}";

/// An MCP server with two tools. Both make the file that the input names.
pub(super) struct Server {
    url: String,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Starts the server on a free port.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("bound"));
        let router = Router::new().route(
            "/mcp",
            post(async |Json(message): Json<Value>| Json(serve(&message))),
        );
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, serving }
    }

    /// Returns the URL at which the CLI reaches the server.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server.
    pub(super) fn stop(self) {
        self.serving.abort();
    }
}

/// Answers a message of the CLI.
fn serve(message: &Value) -> Value {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "remote", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": [tool("look"), tool("make")]}),
        Some("tools/call") => {
            let path = message["params"]["arguments"]["path"]
                .as_str()
                .expect("a path");
            std::fs::write(path, "x").expect("a file");
            json!({"content": [{"type": "text", "text": "made"}]})
        }
        Some("ping" | "notifications/initialized") => json!({}),
        _ => {
            let error = json!({"code": -32601, "message": "unknown method"});
            return json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
        }
    };
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
}

/// Returns the attempts with the MCP server at this URL.
pub(super) fn table(url: &str) -> Table {
    let other_url = format!("{url}?other");
    let listed = format!("remote={url},other={url}");
    let remote = |more: Value| {
        let mut body = json!({"mcpServers": {"remote": {"type": "http", "url": url}}});
        super::driver::extend(&mut body, &more);
        body
    };
    let within = attempt("an allowed tool", LOOK)
        .body(remote(json!({})))
        .reply(reply::allow());
    let unasked = attempt("an allowed tool, unasked", LOOK)
        .body(remote(json!({"allowedTools": ["mcp__remote__look"]})));
    let called = |name| {
        attempt(name, MAKE)
            .body(remote(json!({})))
            .reply(reply::allow())
    };
    let rule = json!([{"type": "addRules", "rules": [{"toolName": "mcp__remote__make"}],
        "behavior": "allow", "destination": "session"}]);
    let hook = json!({"hookSpecificOutput":
        {"hookEventName": "PreToolUse", "permissionDecision": "allow"}});
    let server = json!({"remote": {"command": "sh", "args": ["-c", MAKE_OUTSIDE]}});
    let other = MAKE.replace("remote", "other");
    let both = json!({"mcpServers": {"other": {"type": "http", "url": url},
        "calc": {"type": "sdk"}}});
    let mut attempts = vec![
        called("another tool of the server"),
        called("a hook that allows another tool")
            .initialize(json!({"hooks": {"PreToolUse": [{"hookCallbackIds": ["h"]}]}}))
            .reply(reply::hook_and_allow(hook)),
        attempt(
            "another tool by a rule",
            format!("@tool mcp__remote__look {{\"path\":\"$OUT/within\"}}\n{MAKE}"),
        )
        .body(remote(json!({})))
        .reply(reply::allow_within_with(
            move |_| json!({"updatedPermissions": rule}),
        )),
        attempt("the server under another name", &*other)
            .body(both)
            .reply(reply::allow()),
        attempt("a server that is not listed", "@say one")
            .body(json!({"mcpServers": {"unknown": {"type": "http", "url": url}}}))
            .refused("not-allowed"),
        attempt("the name of a server with another url", LOOK)
            .body(json!({"mcpServers": {"remote": {"type": "http", "url": other_url}}}))
            .refused("not-allowed"),
        called("the server as one of the client")
            .initialize(json!({"sdkMcpServers": ["remote"]}))
            .refused("control-request-not-allowed"),
        attempt("a server of .mcp.json with the same name", "@say one")
            .body(remote(json!({})))
            .file(".mcp.json", json!({"mcpServers": server}).to_string())
            .request(json!({"subtype": "mcp_reconnect", "serverName": "remote"}))
            .then("@say two"),
        attempt("a program for the headers", "@say one").body(json!({"mcpServers":
            {"remote": {"type": "http", "url": url, "headersHelper": MAKE_OUTSIDE}}})),
    ];
    attempts.extend(allowed_tools(&remote));
    Table {
        operator: operator(&[
            ("CLAUDE_API_ALLOWED_MCP_SERVERS", &listed),
            ("CLAUDE_API_TOOLS_CEILING", "mcp__remote__look"),
            ("CLAUDE_API_REPOSITORY_SETTINGS", "full"),
        ]),
        controls: vec![(within, "broken outside"), (unasked, "broken outside")],
        attempts,
    }
}

/// Entries of `allowedTools` and `tools` that the ceiling does not have.
fn allowed_tools(remote: &impl Fn(Value) -> Value) -> Vec<Attempt> {
    let entries = [
        (
            "another tool unasked",
            json!({"allowedTools": ["mcp__remote__make"]}),
        ),
        (
            "every tool of the server",
            json!({"allowedTools": ["mcp__remote"]}),
        ),
        (
            "every tool by a star",
            json!({"allowedTools": ["mcp__remote__*"]}),
        ),
        (
            "every server by a star",
            json!({"allowedTools": ["mcp__*"]}),
        ),
        (
            "a name by a star",
            json!({"allowedTools": ["mcp__rem*te__make"]}),
        ),
        (
            "two tools in one entry",
            json!({"allowedTools": ["mcp__remote__look,mcp__remote__make"]}),
        ),
        (
            "a tool behind one of the client",
            json!({"allowedTools": ["mcp__calc__add,mcp__remote__make"]}),
        ),
        (
            "another tool offered",
            json!({"tools": ["mcp__remote__make"]}),
        ),
        (
            "another tool of an agent",
            json!({"agents": {"a": {"description": "d", "prompt": "p",
                "tools": ["mcp__remote__make"]}}}),
        ),
    ];
    let mut attempts: Vec<_> = entries
        .into_iter()
        .map(|(name, body)| {
            attempt(name, MAKE)
                .body(remote(body))
                .refused("not-allowed")
        })
        .collect();
    attempts.push(
        attempt("another case of the name", MAKE)
            .body(remote(json!({"allowedTools": ["mcp__Remote__make"]}))),
    );
    attempts
}
