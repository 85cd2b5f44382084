//! Burned ids: a bridge gives up a PUT with `POST .../cancel?ifUnknown=burn`.

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::json;

use crate::support::{accept, assert_problem, ended, id, path, send};

const BURN: &str = "/cancel?ifUnknown=burn";

/// docs/protocol.md, "Calls": `ifUnknown=burn`.
#[tokio::test]
async fn a_burned_id_is_never_accepted_not_even_after_a_kill() {
    let mut stack = Stack::start().await;
    let http = stack.http();
    let burned = id();
    for _ in 0..2 {
        let (code, _, answer) = send(&http, Method::POST, &path(&burned, BURN), "").await;
        assert_eq!(code, 200, "{answer}");
        assert_eq!(
            answer,
            json!({"executionId": burned, "state": "cancelled", "burned": true})
        );
    }
    stack.crash_api().await;
    let http = stack.http();
    let body = json!({"prompt": "@say x"}).to_string();
    let answer = send(&http, Method::PUT, &path(&burned, ""), body).await;
    assert_problem(&answer, 410, "cancelled-before-accepted", "PUT");
    let mut client = stack.client().await;
    let error = client
        .call(
            "execute",
            json!({"prompt": "@say x", "executionId": burned}),
        )
        .await
        .expect_err("it was burned");
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32009), &json!("cancelled_before_accepted")),
        "{error}"
    );
    assert_eq!(error["data"]["executionId"], json!(burned));
    let answer = send(&http, Method::GET, &path(&burned, ""), "").await;
    assert_problem(&answer, 404, "not-found", "a burned id is no execution");
    // A cancel without `ifUnknown=burn` burns nothing.
    let free = id();
    let answer = send(&http, Method::POST, &path(&free, "/cancel"), "").await;
    assert_problem(&answer, 404, "not-found", "cancel");
    let answer = send(&http, Method::POST, &path(&free, "/cancel?ifUnknown=x"), "").await;
    assert_problem(&answer, 400, "invalid-query", "cancel");
    accept(&http, &free, "@say x", json!({})).await;
    assert_eq!(ended(&http, &free).await["state"], "completed");
    assert_eq!(stack.spawns(&burned), 0);
    client.finish().await;
    stack.assert_quiet();
}

/// docs/protocol.md, "Limits": `queued` counts burned ids.
#[tokio::test]
async fn a_burn_at_a_full_queue_is_refused_with_retry_after() {
    let stack = Stack::with(StackOptions::default().api("--queued=1")).await;
    let http = stack.http();
    let (first, second) = (id(), id());
    let (code, ..) = send(&http, Method::POST, &path(&first, BURN), "").await;
    assert_eq!(code, 200);
    let answer = send(&http, Method::POST, &path(&second, BURN), "").await;
    assert_problem(&answer, 503, "queue-full", "burn");
    assert!(answer.1.contains_key("retry-after") && answer.2["length"] == 1);
    stack.assert_quiet();
}
