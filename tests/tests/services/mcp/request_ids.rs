//! Request ids: one id names one request at a time.

use cc_tests::harness::Stack;
use serde_json::{Value, json};

use super::raw_client::{LEGACY, RawClient};
use super::stdio_client::StdioClient;
use super::{state, until};
use crate::metrics;
use crate::support::id;

#[tokio::test]
async fn mcp_a_request_id_that_is_in_flight_is_refused_and_the_first_call_continues() {
    let stack = Stack::start().await;
    let arguments = |execution: &str, prompt: &str| {
        let arguments =
            json!({"prompt": prompt, "executionId": execution, "onDisconnect": "cancel"});
        json!({"name": "execute", "arguments": arguments})
    };
    let raw = RawClient::open(&stack, LEGACY[3]).await;
    let mut program = StdioClient::open(&stack, LEGACY[3]).await;
    for over_http in [true, false] {
        let (first, second, go) = (id(), id(), stack.path(&id()));
        let message = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call",
            "params": arguments(&first, &format!("@wait {}\n@say done", go.display()))});
        let repeated = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call",
            "params": arguments(&second, "@say second")});
        let headers = raw.headers(&message);
        let stream = match over_http {
            true => Some(
                raw.start(reqwest::Method::POST, &message.to_string(), &headers)
                    .await,
            ),
            false => {
                program.write(&message.to_string()).await;
                None
            }
        };
        until(&stack, &first, "running").await;
        let refused = match over_http {
            true => raw
                .send(&repeated.to_string(), &headers)
                .await
                .response()
                .clone(),
            false => {
                program.write(&repeated.to_string()).await;
                program.next().await.expect("an answer")
            }
        };
        assert_eq!(
            (&refused["id"], &refused["error"]["code"]),
            (&json!(5), &json!(-32600))
        );
        let message = refused["error"]["message"].as_str().expect("a message");
        assert!(message.contains("in flight"), "{message}");
        assert_eq!(state(&stack, &first).await, "running");
        assert_eq!(state(&stack, &second).await, Value::Null);
        std::fs::write(&go, "").expect("a mark");
        let answer = match stream {
            Some(stream) => super::read(stream).await.response().clone(),
            None => program.next().await.expect("an answer"),
        };
        assert_eq!(answer["id"], 5, "{answer}");
        assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
        // The id is free repeated.
        let answer = match over_http {
            true => raw
                .send(&repeated.to_string(), &headers)
                .await
                .response()
                .clone(),
            false => {
                program.write(&repeated.to_string()).await;
                program.next().await.expect("an answer")
            }
        };
        assert_eq!(answer["result"]["content"][0]["text"], "second", "{answer}");
    }
    let page = metrics::page(stack.bridge.addr()).await;
    assert_eq!(
        page.sum(
            "bridge_requests_refused_total",
            &[("reason", "invalid_request")]
        ),
        1.0
    );
    stack.assert_quiet();
}
