//! No exported byte has a secret or a text of the client.

use cc_tests::harness::{Stack, Tokens};
use cc_tests::http::Http;
use cc_tests::otlp::{Answer, Receiver};
use reqwest::Method;
use serde_json::json;

use super::{TRACE, span, traced, traceparent};
use crate::support::{ended, id, path};

/// Returns whether the bytes have this text.
fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_exported_byte_has_a_secret_a_prompt_or_an_output() {
    let receiver = Receiver::start(Answer::Accept).await;
    let folder = tempfile::tempdir().expect("a folder");
    let headers = folder.path().join("headers");
    std::fs::write(&headers, "x-receiver-key: mark-receiver\n").expect("written");
    let tokens = Tokens::default().with("ci", "control", &[]);
    let token = tokens.secret("ci").to_owned();
    let options = traced(&receiver.endpoint())
        .tokens(tokens)
        .api(format!("--otlp-headers-file={}", headers.display()))
        .api("--allowed-env=MARKED")
        .env("ANTHROPIC_API_KEY", "mark-key")
        .env("ANTHROPIC_CUSTOM_HEADERS", "x: mark-custom");
    let stack = Stack::with(options).await;
    let (http, id) = (Http::with_token(stack.api.addr(), &token), id());
    let body = json!({
        "prompt": "@say mark-output\n@complain mark-stderr\n@exit 3\nmark-prompt",
        "lane": "mark-lane", "model": "mark-model", "systemPrompt": "mark-system",
        "env": {"MARKED": "mark-env"}, "metadata": {"mark-name": "mark-value"},
        "traceparent": traceparent(),
    });
    let request = http.request(Method::PUT, &path(&id, ""));
    let request = request.header("accept", "application/json");
    let answer = request
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
    ended(&http, &id).await;
    // A client may put its token into a path, a query, a method or the id by mistake.
    for path in [
        format!("/v1/{token}"),
        format!("/v1/executions/{token}"),
        format!("/v1/executions?token={token}"),
    ] {
        http.get(&path).await.expect("an answer");
    }
    let method = Method::from_bytes(token.as_bytes()).expect("a method");
    let _ = http
        .request(method, "/v1/me")
        .send()
        .await
        .expect("an answer");
    let me = http.request(Method::GET, "/v1/me");
    let last = traceparent().replace(TRACE, "1234567890abcdef1234567890abcdef");
    me.header("traceparent", last)
        .send()
        .await
        .expect("an answer");
    span(
        &receiver,
        "claude-api",
        "GET /v1/me",
        "1234567890abcdef1234567890abcdef",
    )
    .await;
    let execution = span(&receiver, "claude-api", "execution", TRACE).await;
    assert!(execution.failed);
    let raw = receiver.raw();
    assert!(has(&raw, &id), "the bytes are those of the spans");
    assert!(
        has(&raw, "x-receiver-key: mark-receiver"),
        "the headers are sent"
    );
    assert!(!has(&raw, &token));
    let marks = raw
        .windows(5)
        .enumerate()
        .filter(|(_, window)| window == b"mark-");
    let marks: Vec<_> = marks
        .map(|(at, _)| String::from_utf8_lossy(&raw[at..raw.len().min(at + 20)]).into_owned())
        .filter(|mark| !mark.starts_with("mark-receiver"))
        .collect();
    assert_eq!(marks, Vec::<String>::new());
    for log in [stack.api.log(), stack.bridge.log()] {
        assert!(!log.contains("mark-receiver"));
    }
}
