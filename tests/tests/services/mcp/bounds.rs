//! Bounds of calls and bodies, and the count of refusals.

use cc_tests::harness::{Stack, StackOptions};
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::raw_client::{LEGACY, MODERN, RawClient, with};
use super::until;
use crate::metrics;
use crate::support::{assert_problem, id, send};

#[tokio::test]
async fn mcp_calls_and_bodies_are_bounded() {
    let options = StackOptions::default()
        .bridge("--mcp-calls=1")
        .bridge("--message-bytes=100000");
    let stack = Stack::with(options).await;
    let http = Http::new(stack.bridge.addr());
    let call = |method: &str, params: Value| {
        let id = 1;
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    };
    let client = json!({"name": "t", "version": "1"});
    let initialize = call(
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}),
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
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(&ready, Some(&session)).await.status(), 202);
    let held = id();
    let mut silent = call(
        "tools/call",
        json!({"name": "execute", "arguments": {"prompt": "@silence 600", "executionId": held}}),
    );
    silent["id"] = 7.into();
    let _held = post(&silent, Some(&session)).await;
    // The call holds its permit by then.
    until(&stack, &held, "running").await;
    let refusal = eventually_refused(&post, &session, &call).await;
    assert!(refusal.contains("1 MCP calls run already"), "{refusal}");
    let page = metrics::page(stack.bridge.addr()).await;
    for (reason, count) in [
        ("too_many_calls", 1.0),
        ("too_large", 1.0),
        ("invalid_body", 1.0),
        ("other", 0.0),
    ] {
        let counted = page.sum("bridge_requests_refused_total", &[("reason", reason)]);
        assert_eq!(counted, count, "{reason}");
    }
    let gone = http
        .request(Method::DELETE, "/mcp")
        .header("mcp-session-id", &session)
        .send()
        .await;
    assert_eq!(gone.expect("an answer").status(), 204);
    stack.assert_quiet();
}

/// Calls `output` until a call is refused, because other calls hold all permits; returns the
/// answer.
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

/// The library answers these requests by itself, within a session and with status 200.
#[tokio::test]
async fn mcp_refusals_within_a_session_are_counted() {
    let stack = Stack::start().await;
    let mut raw = RawClient::open(&stack, LEGACY[3]).await;
    let name = "bridge_requests_refused_total";
    for (method, params) in [
        ("prompts/list", json!({})),
        ("logging/setLevel", json!({"level": "info"})),
        (
            "resources/subscribe",
            json!({"uri": "execution://x/status"}),
        ),
        ("subscriptions/listen", json!({"notifications": {}})),
        ("tasks/list", json!({})),
        ("unknown/method", json!({})),
    ] {
        let before = metrics::page(stack.bridge.addr()).await;
        assert_eq!(raw.ask(method, params).await.error(), (200, -32601));
        let after = metrics::page(stack.bridge.addr()).await;
        let labels = [("reason", "unknown_method")];
        let counted = after.sum(name, &labels) - before.sum(name, &labels);
        assert_eq!(counted, 1.0, "{method}");
    }
    // The client has not declared tasks.
    let reply = raw.ask("tasks/get", json!({"taskId": "x"})).await;
    assert_eq!(reply.error(), (200, -32021));
    assert_eq!(raw.ask("ping", json!({})).await.result(), &json!({}));
    let page = metrics::page(stack.bridge.addr()).await;
    assert_eq!(page.sum(name, &[("reason", "missing_capability")]), 1.0);
    assert_eq!(page.sum(name, &[]), 7.0);
    stack.assert_quiet();
}

/// The library answers these requests by itself, with an HTTP error.
#[tokio::test]
async fn mcp_refusals_of_the_library_are_counted() {
    let stack = Stack::start().await;
    let mut modern = RawClient::open(&stack, MODERN).await;
    let mut legacy = RawClient::open(&stack, LEGACY[3]).await;
    let good = modern.message("tools/list", json!({}));
    let headers = modern.headers(&good);
    let unknown = legacy.message("unknown/method", json!({}));
    let lost = with(legacy.headers(&unknown), "mcp-session-id", Some("x"));
    for (body, headers, status) in [
        (&good, with(headers.clone(), "mcp-method", None), 400),
        (&good, with(headers.clone(), "accept", None), 406),
        (&good, with(headers.clone(), "content-type", None), 415),
        (&unknown, lost, 404),
        // In versions with sessions an unknown method is an error in an answer with status 200.
        (&unknown, legacy.headers(&unknown), 200),
        (&good, headers.clone(), 200),
    ] {
        let reply = modern.send(&body.to_string(), &headers).await;
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    assert_eq!(modern.ask("unknown/method", json!({})).await.status, 404);
    let deleted = modern.start(Method::DELETE, "", &headers).await;
    assert_eq!(deleted.status(), 405);
    let page = metrics::page(stack.bridge.addr()).await;
    let name = "bridge_requests_refused_total";
    for (reason, count) in [
        ("mcp_bad_request", 1.0),
        ("mcp_media_type", 2.0),
        ("mcp_not_found", 2.0),
        ("method_not_allowed", 1.0),
        ("unknown_method", 1.0),
        ("other", 0.0),
    ] {
        assert_eq!(page.sum(name, &[("reason", reason)]), count, "{reason}");
    }
    assert_eq!(page.sum(name, &[]), 7.0);
    stack.assert_quiet();
}
