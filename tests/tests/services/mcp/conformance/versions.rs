//! Protocol versions: `initialize`, `server/discover`, and the headers and metadata of requests.

use cc_tests::harness::Stack;
use serde_json::{Value, json};

use super::super::python_sdk::assert_valid;
use super::super::raw_client::{LEGACY, MODERN, RawClient, TASKS, VERSIONS, base_headers, with};

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const HEADER_MISMATCH: (u16, i64) = (400, -32020);
const UNSUPPORTED: (u16, i64) = (400, -32022);
const INVALID_PARAMS: (u16, i64) = (400, -32602);

/// Asserts that the server declares its features and no other.
#[track_caller]
fn assert_capabilities(capabilities: &Value) {
    let declared: Vec<_> = capabilities
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(
        declared,
        ["extensions", "resources", "tools"],
        "{capabilities}"
    );
    assert!(
        capabilities["extensions"][TASKS].is_object(),
        "{capabilities}"
    );
}

#[tokio::test]
async fn mcp_initialize_answers_the_requested_version() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in LEGACY {
        let mut raw = RawClient::new(&stack, version);
        let reply = raw.initialize(version).await;
        assert_eq!(reply.status, 200);
        let result = reply.result();
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "cc-bridge");
        assert_capabilities(&result["capabilities"]);
        let session = reply.headers["mcp-session-id"].as_bytes();
        assert!(session.iter().all(|byte| (0x21..=0x7e).contains(byte)));
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_initialize_with_another_version_answers_the_newest_version_with_sessions() {
    let stack = Stack::start().await;
    for requested in ["1999-01-01", "2099-01-01", MODERN, "x"] {
        let reply = RawClient::new(&stack, LEGACY[3])
            .initialize(requested)
            .await;
        assert_eq!(reply.result()["protocolVersion"], LEGACY[3], "{requested}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_session_keeps_its_version_when_the_header_is_left_out() {
    let stack = Stack::start().await;
    for version in LEGACY {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("ping", json!({}));
        for header in [None, Some(version)] {
            let headers = with(raw.headers(&message), "mcp-protocol-version", header);
            let reply = raw.send(&message.to_string(), &headers).await;
            assert_eq!((reply.status, reply.result()), (200, &json!({})));
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_an_unknown_version_in_the_header_is_400() {
    let stack = Stack::start().await;
    for version in LEGACY {
        let mut raw = RawClient::open(&stack, version).await;
        let message = raw.message("ping", json!({}));
        for header in ["1999-01-01", "2099-01-01", "x", ""] {
            let headers = with(raw.headers(&message), "mcp-protocol-version", Some(header));
            let reply = raw.send(&message.to_string(), &headers).await;
            assert_eq!(reply.status, 400, "{version} {header:?}: {}", reply.body);
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_discover_names_all_versions_and_the_features() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    let reply = raw.ask("server/discover", json!({})).await;
    let result = reply.result();
    assert_eq!(reply.status, 200);
    assert_eq!(result["supportedVersions"], json!(VERSIONS));
    assert_capabilities(&result["capabilities"]);
    let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(server["name"], "cc-bridge", "{result}");
    assert_eq!(result["resultType"], "complete");
    assert_valid(&raw.seen());
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_an_unsupported_version_is_400_and_the_supported_versions_are_named() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    for method in ["server/discover", "tools/list"] {
        let mut message = raw.message(method, json!({}));
        message["params"]["_meta"][META_VERSION] = "2099-01-01".into();
        let headers = with(
            raw.headers(&message),
            "mcp-protocol-version",
            Some("2099-01-01"),
        );
        let reply = raw.send(&message.to_string(), &headers).await;
        assert_eq!(reply.error(), UNSUPPORTED, "{method}");
        assert_eq!(reply.response()["id"], message["id"]);
        let data = &reply.response()["error"]["data"];
        assert_eq!(data["supported"], json!(VERSIONS), "{data}");
        assert_eq!(data["requested"], "2099-01-01", "{data}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_header_that_differs_from_the_body_is_400() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    let list = raw.message("tools/list", json!({}));
    let call = raw.message(
        "tools/call",
        json!({"name": "list", "arguments": {"limit": 1}}),
    );
    let uri = "execution://00000000-0000-4000-8000-000000000000/status";
    let read = raw.message("resources/read", json!({"uri": uri}));
    for (message, name, value) in [
        (&list, "mcp-protocol-version", None),
        (&list, "mcp-protocol-version", Some(LEGACY[3])),
        (&list, "mcp-method", None),
        (&list, "mcp-method", Some("tools/call")),
        (&list, "mcp-method", Some("TOOLS/LIST")),
        (&call, "mcp-name", None),
        (&call, "mcp-name", Some("execute")),
        (&call, "mcp-name", Some("=?base64?ZXhlY3V0ZQ==?=")),
        (&call, "mcp-name", Some("=?base64?bGlzdA=?=")),
        (&read, "mcp-name", Some("execution://x/status")),
    ] {
        let headers = with(raw.headers(message), name, value);
        let reply = raw.send(&message.to_string(), &headers).await;
        assert_eq!(
            reply.error(),
            HEADER_MISMATCH,
            "{name} {value:?}: {}",
            reply.body
        );
        assert_eq!(reply.response()["id"], message["id"]);
    }
    // Header names are case-insensitive, and a value may be encoded or have spaces around it.
    for value in ["list", " list\t", "=?base64?bGlzdA==?="] {
        let headers = with(raw.headers(&call), "mcp-name", None);
        let headers = with(headers, "MCP-NAME", Some(value));
        let reply = raw.send(&call.to_string(), &headers).await;
        assert_eq!(
            reply.result()["isError"],
            false,
            "{value:?}: {}",
            reply.body
        );
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_request_without_its_metadata_is_400() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    for method in ["server/discover", "tools/list"] {
        let whole = raw.message(method, json!({}));
        let headers = raw.headers(&whole);
        let without = |key: &str| {
            let mut message = whole.clone();
            let meta = message["params"]["_meta"]
                .as_object_mut()
                .expect("an object");
            assert!(meta.remove(key).is_some());
            message
        };
        let mut bare = whole.clone();
        bare["params"] = json!({});
        for message in [bare, without(META_VERSION), without(META_CAPABILITIES)] {
            let reply = raw.send(&message.to_string(), &headers).await;
            assert_eq!(reply.error(), INVALID_PARAMS, "{message}: {}", reply.body);
            assert_eq!(reply.response()["id"], message["id"]);
        }
        // The name of the client is optional.
        let reply = raw.send(&without(META_CLIENT).to_string(), &headers).await;
        assert_eq!(
            (reply.status, &reply.result()["resultType"]),
            (200, &json!("complete"))
        );
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_header_that_differs_from_initialize_is_400() {
    let stack = Stack::start().await;
    let mut raw = RawClient::new(&stack, LEGACY[3]);
    let params = json!({
            "protocolVersion": LEGACY[3],
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    });
    let message = raw.message("initialize", params);
    let headers = with(base_headers(), "mcp-protocol-version", Some(LEGACY[2]));
    let reply = raw.send(&message.to_string(), &headers).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(!reply.headers.contains_key("mcp-session-id"));
    stack.assert_quiet();
}
