//! The method `events`, and `/events` with an offset: both return the same bytes.

use cc_tests::{
    harness::{Stack, StackOptions},
    http::{Http, read_output},
    ws::Client,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{accept, assert_problem, ended, id, path, send, until};

/// Reads `/events`; returns the bytes and the headers.
async fn events(http: &Http, id: &str, query: &str) -> (Vec<u8>, reqwest::header::HeaderMap) {
    let request = http.request(Method::GET, &path(id, &format!("/events{query}")));
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "{query}");
    let headers = response.headers().clone();
    let output = read_output(response).await;
    assert!(output.clean, "{query}");
    (output.bytes, headers)
}

/// Requests part after part until no more events are there. Returns the text, the next offset, and
/// whether the events have ended.
async fn read_parts(
    client: &mut Client,
    id: &str,
    from: u64,
    max_bytes: usize,
) -> (String, u64, bool) {
    let (mut text, mut offset) = (String::new(), from);
    loop {
        let params = json!({"executionId": id, "offset": offset, "maxBytes": max_bytes});
        let part = client.call("events", params).await.expect("a part");
        let piece = part["text"].as_str().expect("a text");
        assert!(piece.len() <= max_bytes, "{} bytes", piece.len());
        text += piece;
        offset = part["nextOffset"].as_u64().expect("an offset");
        let is_ended = part["ended"] == true;
        if is_ended || piece.is_empty() {
            return (text, offset, is_ended);
        }
    }
}

#[tokio::test]
async fn events_through_the_bridge_are_the_bytes_of_claude_api_during_and_after_the_run() {
    let stack = Stack::start().await;
    let (http, mut client) = (stack.http(), stack.client().await);
    for format in ["text", "events"] {
        let (id, go) = (id(), stack.path(&format!("tmp/go-{format}")));
        let prompt = format!("@tokens 300\n@wait {}\n@tokens 300", go.display());
        accept(&http, &id, &prompt, json!({"format": format})).await;
        until(&http, &id, "half done", |status| {
            status["outputBytes"].as_u64() > Some(1500)
        })
        .await;
        let (before, reached, is_ended) = read_parts(&mut client, &id, 0, 4096).await;
        assert!(!is_ended && before.ends_with('\n') && before.len() > 4096);
        let (now, headers) = events(&http, &id, "?follow=false").await;
        assert_eq!(headers["events-ended"], "false");
        assert_eq!(headers["events-length"], now.len().to_string().as_str());
        assert!(now.starts_with(before.as_bytes()));
        let live = tokio::spawn({
            let (http, id) = (http.clone(), id.clone());
            async move { events(&http, &id, &format!("?offset={reached}")).await.0 }
        });
        std::fs::write(&go, "").expect("a file");
        ended(&http, &id).await;
        let (after, end, is_ended) = read_parts(&mut client, &id, reached, 4096).await;
        assert!(is_ended && after.len() > 4096);
        let (whole, _) = events(&http, &id, "").await;
        assert_eq!(end, whole.len() as u64);
        assert!((before + &after).as_bytes() == whole);
        assert!(live.await.expect("it ended") == after.as_bytes());
        let (rest, headers) = events(&http, &id, &format!("?follow=false&offset={reached}")).await;
        assert!(rest == after.as_bytes());
        assert_eq!(headers["events-offset"], reached.to_string().as_str());
        assert_eq!(headers["events-ended"], "true");
    }
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn wrong_requests_for_events_get_the_same_reason_from_both_services() {
    let mut stack = Stack::start().await;
    let (http, target, unknown) = (stack.http(), id(), id());
    accept(
        &http,
        &target,
        "@say x\n@invalid-utf8",
        json!({"format": "events"}),
    )
    .await;
    ended(&http, &target).await;
    stack.crash_api().await;
    let (http, mut client) = (stack.http(), stack.client().await);
    let length = events(&http, &target, "").await.0.len();
    for (id, offset, code, kind, rpc) in [
        (&unknown, json!(0), 404, "not-found", -32003),
        (&target, json!(length + 1), 416, "offset-beyond-end", -32602),
        (&target, json!(-1), 400, "invalid-query", -32602),
        (&target, json!("x"), 400, "invalid-query", -32602),
    ] {
        let text = offset.to_string().replace('"', "");
        let query = path(id, &format!("/events?offset={text}"));
        let answer = send(&http, Method::GET, &query, "").await;
        assert_problem(&answer, code, kind, &query);
        let params = json!({"executionId": id, "offset": offset});
        let error = client.call("events", params).await.expect_err("a refusal");
        assert_eq!(error["code"], rpc, "{error}");
        if code != 400 {
            assert_eq!(error["data"]["reason"], kind.replace('-', "_"));
            assert_eq!(error["message"], answer.2["detail"]);
        }
    }
    client.finish().await;
    stack.assert_quiet();
}

/// The oldest events are freed under `--events-bytes`; the others keep their offsets.
#[tokio::test]
async fn long_events_are_read_in_parts_and_freed_events_are_named() {
    let options = StackOptions::default().api("--events-bytes=3000000");
    let stack = Stack::with(options).await;
    let (http, mut client, target) = (stack.http(), stack.client().await, id());
    accept(&http, &target, "@volume 40000 100", json!({})).await;
    ended(&http, &target).await;
    let (kept, headers) = events(&http, &target, "?follow=false").await;
    let number = |name: &str| -> u64 {
        let value = headers[name].to_str().expect("ASCII");
        value.parse().expect("a number")
    };
    let (from, length) = (number("events-offset"), number("events-length"));
    assert!(from > 0 && kept.len() > 1_000_000 && from + kept.len() as u64 == length);
    let answer = client
        .call("events", json!({"executionId": target, "offset": from - 1}))
        .await;
    let error = answer.expect_err("freed");
    assert_eq!(error["data"]["keptFrom"], from, "{error}");
    let first = client.call("events", json!({"executionId": target})).await;
    let first = first.expect("a part");
    assert_eq!(first["offset"], from);
    // Without `maxBytes`, the size of a message is the limit.
    let text = first["text"].as_str().expect("a text");
    assert!(text.len() > 200_000 && text.len() < 512 * 1024);
    assert!(kept.starts_with(text.as_bytes()));
    let (rest, end, is_ended) = read_parts(&mut client, &target, from, 100_000).await;
    assert_eq!((end, is_ended), (length, true));
    assert!(rest.as_bytes() == kept);
    client.finish().await;
    stack.assert_quiet();
}

#[tokio::test]
async fn connected_lists_the_method_events() {
    let stack = Stack::start().await;
    let client = stack.client().await;
    let methods = &client.connected()["capabilities"]["methods"];
    let has = |name: &str| {
        methods
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)))
    };
    assert!(has("events") && !has("event"), "{methods}");
    client.finish().await;
    stack.assert_quiet();
}
