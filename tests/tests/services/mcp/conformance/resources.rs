//! Resources: the list and its pages, the templates, reading, and unknown resources.

use cc_tests::harness::Stack;
use serde_json::{Value, json};

use super::super::python_sdk::assert_valid;
use super::super::raw_client::{MODERN, RawClient, VERSIONS};
use super::calls::assert_hints;

const UNKNOWN: &str = "execution://00000000-0000-4000-8000-000000000000/status";

#[tokio::test]
async fn mcp_resources_are_listed_and_read_as_text() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let done = raw.call("execute", json!({"prompt": "@say read me"})).await;
        let id = done["executionId"].as_str().expect("an id").to_owned();
        let list = raw.ask("resources/list", json!({})).await;
        let listed = list.result()["resources"].as_array().expect("a list");
        for resource in listed {
            assert!(
                resource["uri"].is_string() && resource["name"].is_string(),
                "{resource}"
            );
        }
        let templates = raw.ask("resources/templates/list", json!({})).await;
        let templated = templates.result()["resourceTemplates"]
            .as_array()
            .expect("a list");
        assert!(!templated.is_empty());
        for (rest, kind) in [
            ("output", "text/plain"),
            ("output?offset=5", "text/plain"),
            ("status", "application/json"),
        ] {
            let uri = format!("execution://{id}/{rest}");
            let read = raw.ask("resources/read", json!({"uri": uri})).await;
            let contents = read.result()["contents"].as_array().expect("contents");
            assert_eq!(
                (contents.len(), &contents[0]["uri"]),
                (1, &json!(uri)),
                "{version}"
            );
            assert_eq!(contents[0]["mimeType"], kind, "{version} {rest}");
            assert!(contents[0]["text"].is_string() && contents[0].get("blob").is_none());
            if version == MODERN {
                assert_hints(read.result());
            }
        }
        if version == MODERN {
            assert_hints(list.result());
            assert_hints(templates.result());
        }
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_the_pages_of_the_list_are_whole_and_a_foreign_cursor_is_invalid() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    // One page has 20 executions, with three resources each.
    for _ in 0..21 {
        let started = raw.call("start", json!({"prompt": "@say x"})).await;
        assert!(started["executionId"].is_string(), "{started}");
    }
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let (mut uris, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
        while pages == 0 || cursor.is_string() {
            let params = if pages == 0 {
                json!({})
            } else {
                json!({"cursor": cursor})
            };
            let mut page = raw.ask("resources/list", params).await.result().clone();
            let resources = page["resources"].as_array().expect("a list");
            uris.extend(resources.iter().map(|resource| resource["uri"].to_string()));
            cursor = page["nextCursor"].take();
            pages += 1;
        }
        let all = uris.len();
        uris.sort_unstable();
        uris.dedup();
        assert_eq!((uris.len(), all, pages), (63, 63, 2), "{version}");
        let reply = raw
            .ask("resources/list", json!({"cursor": "foreign"}))
            .await;
        assert_eq!(reply.error(), (200, -32602), "{version}");
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}

/// The error code changed with version 2026-07-28 (SEP-2164).
#[tokio::test]
async fn mcp_an_unknown_resource_has_the_error_code_of_the_version() {
    let stack = Stack::start().await;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        let code = if version == MODERN { -32602 } else { -32002 };
        for uri in [UNKNOWN, "execution://7/status", "file:///etc/passwd"] {
            let reply = raw.ask("resources/read", json!({"uri": uri})).await;
            assert_eq!(
                reply.error(),
                (200, code),
                "{version} {uri}: {}",
                reply.body
            );
        }
        seen.extend(raw.seen());
    }
    assert_valid(&seen);
    stack.assert_quiet();
}
