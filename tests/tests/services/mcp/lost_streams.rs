//! Lost response streams: the call continues, but holds no permit.

use cc_tests::harness::{self, Stack, StackOptions};
use reqwest::Method;
use serde_json::json;

use super::raw_client::{LEGACY, RawClient};
use super::{state, until};
use crate::support::{PATIENCE, id};

#[tokio::test]
async fn mcp_a_call_whose_stream_is_lost_releases_its_permit_and_can_be_resumed() {
    let stack = Stack::with(StackOptions::default().bridge("--mcp-calls=1")).await;
    let mut other = RawClient::open(&stack, LEGACY[3]).await;
    for tool in ["execute", "wait"] {
        let (execution, go) = (id(), stack.path(&id()));
        let prompt = format!("@wait {}\n@say done", go.display());
        let start = json!({"prompt": prompt, "executionId": execution});
        let poll = json!({"executionId": execution, "maxSeconds": 0});
        let arguments = match tool {
            "execute" => start,
            _ => {
                other.call("start", start).await;
                json!({"executionId": execution})
            }
        };
        let mut raw = RawClient::open(&stack, LEGACY[3]).await;
        let message = raw.message("tools/call", json!({"name": tool, "arguments": arguments}));
        let headers = raw.headers(&message);
        let mut lost = raw
            .start(Method::POST, &message.to_string(), &headers)
            .await;
        let event = super::stream_resumption::event_id(&mut lost).await;
        until(&stack, &execution, "running").await;
        // The first event comes before the call begins. An earlier poll would take its permit.
        harness::until("the session of the call", PATIENCE, async || {
            let bridge = cc_tests::http::Http::new(stack.bridge.addr());
            let page = bridge.request(Method::GET, "/metrics").send().await.ok()?;
            let page = page.text().await.ok()?;
            page.lines()
                .any(|line| line == "bridge_sessions 1")
                .then_some(())
        })
        .await;
        harness::until("a call that holds the permit", PATIENCE, async || {
            let seen = other.call("wait", poll.clone()).await;
            (seen["reason"] == "too_many_calls").then_some(())
        })
        .await;

        drop(lost);
        harness::until("a free permit", PATIENCE, async || {
            let seen = other.call("wait", poll.clone()).await;
            (seen["reason"] != "too_many_calls").then_some(())
        })
        .await;
        assert_eq!(state(&stack, &execution).await, "running", "{tool}");
        let resumed = super::stream_resumption::resume(&raw, &event).await;
        std::fs::write(&go, "").expect("a mark");
        let reply = super::read(resumed).await;
        assert_eq!(reply.response()["id"], message["id"], "{tool}");
        assert_eq!(reply.result()["content"][0]["text"], "done", "{tool}");
        assert_eq!(stack.spawns(&execution), 1);
    }
    stack.assert_quiet();
}
