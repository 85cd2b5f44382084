//! The documents with which both services describe themselves.

mod schemathesis;

use std::net::SocketAddr;
use std::time::Duration;

use cc_tests::harness::{Stack, StackOptions, Tokens};
use cc_tests::raw_http::{RawAnswer, RawRequest};

const PATIENCE: Duration = Duration::from_secs(10);

/// The document of each service: its address, path, media type and text.
fn documents(stack: &Stack) -> [(SocketAddr, &'static str, &'static str, &'static str); 2] {
    [
        (
            stack.api.addr(),
            "/openapi.json",
            "application/json",
            descriptions::openapi_json(),
        ),
        (
            stack.bridge.addr(),
            "/protocol.json",
            "application/schema+json",
            descriptions::protocol_json(),
        ),
    ]
}

async fn read(addr: SocketAddr, method: &str, path: &str) -> RawAnswer {
    RawRequest::new(method, path).send(addr, PATIENCE).await
}

fn tokens() -> StackOptions {
    let tokens = Tokens::default().with("ci", "control", &[]);
    StackOptions::default().one_bridge().tokens(tokens)
}

#[tokio::test]
async fn documents_need_no_token_and_are_those_of_the_library() {
    for options in [StackOptions::default().one_bridge(), tokens()] {
        let stack = Stack::with(options).await;
        for (addr, path, kind, text) in documents(&stack) {
            let answer = read(addr, "GET", path).await;
            assert_eq!(answer.code, 200, "{path}");
            assert_eq!(answer.header("content-type"), Some(kind), "{path}");
            let (_, body) = answer.text.split_once("\r\n\r\n").expect("a body");
            assert!(body == text, "{path} differs from the library");
            let head = read(addr, "HEAD", path).await;
            assert_eq!(head.code, 200, "{path}");
            assert!(head.text.ends_with("\r\n\r\n"), "{path}");
        }
        stack.assert_quiet();
    }
}

#[tokio::test]
async fn documents_are_refused_to_foreign_hosts_and_pages() {
    let stack = Stack::with(tokens()).await;
    for (addr, path, ..) in documents(&stack) {
        let foreign = RawRequest::new("GET", path).host(Some("example.com"));
        let answer = foreign.send(addr, PATIENCE).await;
        assert_eq!(answer.json()["type"], "foreign-host", "{path}");
        let page = RawRequest::new("GET", path).header("Origin", "https://example.com");
        let answer = page.send(addr, PATIENCE).await;
        assert_eq!(answer.json()["type"], "foreign-origin", "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_beside_the_documents_need_a_token() {
    let stack = Stack::with(tokens()).await;
    let api = stack.api.addr();
    for (method, path) in [
        ("POST", "/openapi.json"),
        ("GET", "/openapi.json/"),
        ("GET", "//openapi.json"),
        ("GET", "/v1/limits/../openapi.json"),
    ] {
        let answer = read(api, method, path).await;
        assert_eq!(answer.code, 401, "{method} {path}");
    }
    let answer = read(stack.bridge.addr(), "POST", "/protocol.json").await;
    assert_eq!(answer.code, 405);
}
