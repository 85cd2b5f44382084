//! A GET with `Last-Event-ID`, after the response stream of a call was lost.

use cc_tests::harness::Stack;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::time::timeout;

use super::raw_client::{LEGACY, RawClient, with};
use super::{read, state, until};
use crate::support::{PATIENCE, id};

/// Reads a stream until it has an event with an id; returns the id.
pub(super) async fn event_id(response: &mut Response) -> String {
    let mut text = String::new();
    loop {
        let chunk = timeout(PATIENCE, response.chunk()).await;
        let chunk = chunk.expect("an event in time").expect("an open stream");
        text += &String::from_utf8_lossy(&chunk.expect("an event with an id"));
        let mut ids = text.lines().filter_map(|line| line.strip_prefix("id:"));
        if let Some(id) = ids.next_back().filter(|_| text.ends_with('\n')) {
            return id.trim().to_owned();
        }
    }
}

/// Opens a stream that resumes after this event.
pub(super) async fn resume(raw: &RawClient, event: &str) -> Response {
    let headers = with(raw.headers(&json!({})), "last-event-id", Some(event));
    raw.start(Method::GET, "", &headers).await
}

#[tokio::test]
async fn mcp_a_lost_stream_is_resumed_while_its_call_runs_and_is_empty_afterwards() {
    let stack = Stack::start().await;
    for version in [LEGACY[0], LEGACY[3]] {
        let mut raw = RawClient::open(&stack, version).await;
        let (execution, go) = (id(), stack.path(&id()));
        let prompt = format!("@wait {}\n@say done", go.display());
        let params =
            json!({"name": "execute", "arguments": {"prompt": prompt, "executionId": execution}});
        let message = raw.message("tools/call", params);
        let headers = raw.headers(&message);
        let mut lost = raw
            .start(Method::POST, &message.to_string(), &headers)
            .await;
        let event = event_id(&mut lost).await;
        until(&stack, &execution, "running").await;
        drop(lost);

        let resumed = resume(&raw, &event).await;
        assert_eq!(resumed.status(), 200, "{version}");
        // An event that the session does not have gets an empty stream, and cancels nothing.
        for foreign in ["x", "7/7", "7/x", "99999999999999999999"] {
            let reply = read(resume(&raw, foreign).await).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{foreign}");
        }
        assert_eq!(state(&stack, &execution).await, "running", "{version}");
        std::fs::write(&go, "").expect("a mark");
        let reply = read(resumed).await;
        assert_eq!(reply.response()["id"], message["id"], "{version}");
        assert_eq!(reply.result()["content"][0]["text"], "done", "{version}");
        assert_eq!(state(&stack, &execution).await, "completed", "{version}");

        let reply = read(resume(&raw, &event).await).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{version}");
        assert_eq!(raw.ask("ping", json!({})).await.result(), &json!({}));
        assert_eq!(stack.spawns(&execution), 1);
    }
    stack.assert_quiet();
}
