//! The transport over stdin and stdout: one message a line, and nothing else on stdout.

use cc_tests::harness::Stack;
use serde_json::json;

use super::super::python_sdk::assert_valid;
use super::super::raw_client::{LEGACY, MODERN, VERSIONS};
use super::super::stdio_client::StdioClient;

#[tokio::test]
async fn mcp_stdio_answers_one_message_a_line_and_ends_with_stdin() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut program = StdioClient::open(&stack, version).await;
        let tools = program.ask(2, "tools/list", json!({})).await;
        assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(8));
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
    let mut program = StdioClient::start(&stack, MODERN);
    let answer = program.ask(1, "server/discover", json!({})).await;
    assert_eq!(answer["result"]["supportedVersions"], json!(VERSIONS));
    assert_valid(&program.finish().await);
    let mut program = StdioClient::start(&stack, MODERN);
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
async fn mcp_stdio_continues_after_a_line_that_is_no_message() {
    let stack = Stack::start().await;
    for version in [LEGACY[3], MODERN] {
        let mut program = StdioClient::open(&stack, version).await;
        let tools = program.ask(2, "tools/list", json!({})).await;
        assert!(tools["result"]["tools"].is_array());
        for line in ["", "{", "7", "[]", "{}"] {
            program.write(line).await;
        }
        let mut message = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"});
        if version == MODERN {
            message["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        program.write(&message.to_string()).await;
        // Each bad line may get an error without a request's id.
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
