//! The limit of sessions: when it is reached, a new session replaces an idle one.

use cc_tests::harness::{Stack, StackOptions, until};
use cc_tests::http::Http;
use futures::future::join_all;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;

use super::raw_client::{LEGACY, MODERN, RawClient, Reply, base_headers};
use crate::support::{PATIENCE, id};

async fn stack(sessions: usize) -> Stack {
    Stack::with(StackOptions::default().bridge(format!("--mcp-sessions={sessions}"))).await
}

/// Sends a ping in the session; returns the HTTP status.
async fn status(raw: &mut RawClient) -> u16 {
    raw.ask("ping", json!({})).await.status
}

/// Sends `initialize`; returns the client with its session, or the refusal.
async fn initialize(stack: &Stack) -> Result<RawClient, Reply> {
    let mut raw = RawClient::new(stack, LEGACY[3]);
    let reply = raw.initialize(LEGACY[3]).await;
    let Some(session) = reply.headers.get("mcp-session-id") else {
        return Err(reply);
    };
    raw.session = session.to_str().ok().map(str::to_owned);
    Ok(raw)
}

#[track_caller]
fn assert_refused(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.body);
    let problem: serde_json::Value = serde_json::from_str(&reply.body).expect("a problem");
    assert_eq!(problem["type"], "too-many-mcp-sessions", "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("BRIDGE_MCP_SESSIONS"), "{detail}");
}

#[tokio::test]
async fn mcp_simultaneous_initialize_requests_do_not_exceed_the_limit_of_sessions() {
    let stack = stack(4).await;
    let begun = join_all((0..64).map(|_| initialize(&stack))).await;
    let mut answering = 0;
    for mut raw in begun.into_iter().flatten() {
        answering += usize::from(status(&mut raw).await == 200);
    }
    assert_eq!(answering, 4);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_new_session_at_the_limit_ends_an_idle_session() {
    let stack = stack(2).await;
    let first = RawClient::open(&stack, LEGACY[3]).await;
    let second = RawClient::open(&stack, LEGACY[3]).await;
    // A session whose last answer was just read may not be idle yet.
    let third = until("an idle session", PATIENCE, async || {
        initialize(&stack).await.ok()
    })
    .await;
    let mut statuses = Vec::new();
    for mut raw in [first, second, third] {
        statuses.push(status(&mut raw).await);
    }
    assert_eq!(statuses[2], 200);
    // Only the service knows which of the two was idle for longer (see its `Table`).
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 404]);
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_session_with_an_open_stream_or_a_running_call_is_not_ended() {
    let stack = stack(2).await;
    let mut calling = RawClient::open(&stack, LEGACY[3]).await;
    let (execution, go) = (id(), stack.path(&id()));
    let prompt = format!("@wait {}\n@say done", go.display());
    let params =
        json!({"name": "execute", "arguments": {"prompt": prompt, "executionId": execution}});
    let message = calling.message("tools/call", params);
    let headers = calling.headers(&message);
    let call = calling
        .start(Method::POST, &message.to_string(), &headers)
        .await;
    super::until(&stack, &execution, "running").await;
    let listening = RawClient::open(&stack, LEGACY[3]).await;
    let headers = listening.headers(&json!({}));
    let stream = listening.start(Method::GET, "", &headers).await;
    assert_eq!(stream.status(), 200);
    assert_refused(&initialize(&stack).await.expect_err("no session is idle"));

    // A call continues when its stream is closed, so the other session is the idle one.
    drop(call);
    drop(stream);
    let mut third = until("an idle session", PATIENCE, async || {
        initialize(&stack).await.ok()
    })
    .await;
    let gone = listening.start(Method::GET, "", &headers).await;
    assert_eq!(gone.status(), 404);
    assert_eq!(status(&mut calling).await, 200);
    let headers = third.headers(&json!({}));
    let stream = third.start(Method::GET, "", &headers).await;
    assert_eq!(stream.status(), 200);
    assert_refused(&initialize(&stack).await.expect_err("a call runs"));

    // The session of a call that has ended is idle.
    std::fs::write(&go, "").expect("a mark");
    super::until(&stack, &execution, "completed").await;
    until("an idle session", PATIENCE, async || {
        initialize(&stack).await.ok()
    })
    .await;
    assert_eq!(status(&mut calling).await, 404);
    assert_eq!(status(&mut third).await, 200);
    stack.assert_quiet();
}

/// A client names the newest version that it knows in `initialize`, also one without sessions.
#[tokio::test]
async fn mcp_no_form_of_initialize_exceeds_the_limit_of_sessions() {
    let stack = stack(1).await;
    let mut first = RawClient::open(&stack, LEGACY[3]).await;
    let headers = first.headers(&json!({}));
    let _stream = first.start(Method::GET, "", &headers).await;
    let mut raw = RawClient::open(&stack, MODERN).await;
    let params = json!({
            "protocolVersion": MODERN,
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    });
    let message = raw.message("initialize", params);
    for headers in [base_headers(), raw.headers(&message)] {
        let reply = raw.send(&message.to_string(), &headers).await;
        assert_refused(&reply);
        assert!(!reply.headers.contains_key("mcp-session-id"));
    }
    // The library ignores a session id that is not ASCII.
    let mut request = Http::new(stack.bridge.addr()).request(Method::POST, "/mcp");
    for (name, value) in base_headers() {
        request = request.header(name, value);
    }
    let foreign = HeaderValue::from_bytes(b"\xff").expect("a value");
    let request = request.header("mcp-session-id", foreign);
    let response = request.body(message.to_string()).send().await;
    let reply = Reply::read(response.expect("an answer")).await;
    assert_refused(&reply.expect("a whole answer"));
    // Only sessions are limited: requests without one, and those of the open one, are answered.
    assert_eq!(raw.ask("tools/list", json!({})).await.status, 200);
    assert_eq!(first.ask("tools/list", json!({})).await.status, 200);
    stack.assert_quiet();
}

/// A session keeps the content of its `initialize` as long as it is open.
#[tokio::test]
async fn mcp_an_initialize_over_64_kib_is_refused() {
    let stack = Stack::start().await;
    let mut raw = RawClient::new(&stack, LEGACY[3]);
    raw.capabilities = json!({"experimental": {"x": {"y": "z".repeat(64 * 1024)}}});
    let reply = raw.initialize(LEGACY[3]).await;
    assert_eq!(reply.status, 413, "{}", reply.body);
    assert!(!reply.headers.contains_key("mcp-session-id"));
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_session_belongs_to_the_bridge_that_began_it() {
    let stack = Stack::with(StackOptions::default().two_bridges()).await;
    let mut raw = RawClient::open(&stack, LEGACY[3]).await;
    raw.move_to(stack.second_bridge().addr());
    assert_eq!(status(&mut raw).await, 404);
    raw.move_to(stack.bridge.addr());
    assert_eq!(status(&mut raw).await, 200);
    stack.assert_quiet();
}
