//! Bad input over HTTP: each request gets a clear problem, and the service keeps running.

use cc_tests::harness::{Stack, StackOptions};
use reqwest::Method;
use serde_json::json;

use crate::support::{PATIENCE, accept, assert_problem, ended, exists, id, path, run, send};

#[tokio::test]
async fn bad_bodies_are_refused_and_nothing_is_recorded() {
    let stack = Stack::start().await;
    let http = stack.http();
    let (other, mark) = (id(), stack.path("tmp").join("running"));
    let prompt = format!("@touch {}\n@tool 60\n@say untouched", mark.display());
    accept(&http, &other, &prompt, json!({})).await;
    exists(&mark).await;
    let bodies: [(&[u8], &str); 30] = [
        (b"", "nothing"),
        (b"{", "half a body"),
        (b"nonsense", "no JSON"),
        (b"null", "null"),
        (b"[]", "a list"),
        (b"[{\"prompt\":\"x\"}]", "a list of one"),
        (b"\"x\"", "a string"),
        (b"{} {}", "two objects"),
        (b"{\"prompt\":\"\xff\xfe\"}", "bytes that are no UTF-8"),
        (br#"{"prompt":"x \ud83d"}"#, "a lone surrogate"),
        (br#"{"prompt":"a","prompt":"b"}"#, "a field twice"),
        (b"{}", "no prompt"),
        (br#"{"prompt":null}"#, "a null prompt"),
        (br#"{"prompt":7}"#, "a number as prompt"),
        (br#"{"prompt":["x"]}"#, "a list as prompt"),
        (br#"{"prompt":""}"#, "an empty prompt"),
        (
            "{\"prompt\":\" \\n\\t\u{a0}\u{3000}\u{2028}\"}".as_bytes(),
            "a blank prompt",
        ),
        (br#"{"prompt":"x","color":"red"}"#, "an unknown field"),
        (
            br#"{"prompt":"x","onSlow":"skip"}"#,
            "a field of the bridge",
        ),
        (br#"{"prompt":"x","format":"html"}"#, "an unknown format"),
        (br#"{"prompt":"x","promptMode":"shell"}"#, "an unknown mode"),
        (
            br#"{"prompt":"x","allowedTools":"Bash"}"#,
            "a string as list",
        ),
        (br#"{"prompt":"x","env":["A"]}"#, "a list as env"),
        (
            br#"{"prompt":"x","metadata":{"a":1}}"#,
            "a number in metadata",
        ),
        (br#"{"prompt":"x","maxTurns":-1}"#, "negative turns"),
        (br#"{"prompt":"x","maxTurns":0}"#, "no turns"),
        (br#"{"prompt":"x","deadlineSeconds":0}"#, "no time"),
        (
            br#"{"prompt":"x","idleTimeoutSeconds":-5}"#,
            "negative time",
        ),
        (
            br#"{"prompt":"x","conversation":"yesterday"}"#,
            "no conversation id",
        ),
        (br#"{"prompt":"x","lane":""}"#, "an empty lane"),
    ];
    for (body, what) in bodies {
        let id = id();
        let answer = send(&http, Method::PUT, &path(&id, ""), body.to_vec()).await;
        assert_problem(&answer, 400, "invalid-body", what);
        let answer = send(&http, Method::GET, &path(&id, ""), "").await;
        assert_problem(&answer, 404, "not-found", what);
        let answer = send(&http, Method::POST, "/v1/executions", body.to_vec()).await;
        assert_problem(&answer, 400, "invalid-body", what);
    }
    let metadata = json!({"prompt": "x", "metadata": {"a": "x".repeat(4097)}}).to_string();
    let answer = send(&http, Method::PUT, &path(&id(), ""), metadata).await;
    assert_problem(&answer, 400, "invalid-body", "metadata over 4 KiB");
    let (_, list) = http.get("/v1/executions").await.expect("a list");
    assert_eq!(list["executions"].as_array().map(Vec::len), Some(1));
    let status = http.status(&other).await.expect("a status");
    assert_eq!(status["state"], "running");
    send(&http, Method::POST, &path(&other, "/cancel"), "").await;
    assert_eq!(ended(&http, &other).await["state"], "cancelled");
    assert_eq!(run(&stack, "@say alive", json!({})).await.0, "alive");
    stack.assert_quiet();
}

#[tokio::test]
async fn size_limits_are_exact_to_the_byte() {
    let stack = Stack::start().await;
    let http = stack.http();
    let limit = 4 << 20;
    let head = "@echo-digest\n";
    let fits = format!("{head}{}", "x".repeat(limit - head.len()));
    let (output, status) = run(&stack, &fits, json!({})).await;
    assert_eq!(status["state"], "completed");
    assert!(output.starts_with(&format!("bytes={limit} ")), "{output}");
    // Escaped, the same prompt is six times as long on the wire.
    let wide = format!("@echo-digest\\n{}", "\\u0041".repeat(limit - head.len()));
    let wide = format!("{{\"prompt\":\"{wide}\"}}");
    let escaped = id();
    let answer = send(&http, Method::PUT, &path(&escaped, ""), wide).await;
    assert_eq!(answer.0, 201, "{}", answer.2);
    let output = http.output(&escaped, 0).await.expect("an output");
    assert!(output.bytes.starts_with(b"bytes=4194304 "));
    for field in ["prompt", "systemPrompt", "appendSystemPrompt"] {
        let limit = if field == "prompt" { limit } else { 64 << 10 };
        let mut body = json!({"prompt": "@say x"});
        body[field] = "x".repeat(limit + 1).into();
        let answer = send(&http, Method::PUT, &path(&id(), ""), body.to_string()).await;
        assert_problem(&answer, 413, "too-large", field);
        body[field] = "x".repeat(limit).into();
        let answer = send(&http, Method::PUT, &path(&id(), ""), body.to_string()).await;
        assert_eq!(answer.0, 201, "{field}: {}", answer.2);
    }
    let huge = vec![b'['; 40 << 20];
    let refused = http
        .request(Method::PUT, &path(&id(), ""))
        .header("accept", "application/json")
        .body(huge)
        .send()
        .await;
    // The refusal may arrive before the whole body is sent; then the connection may break.
    if let Ok(response) = refused {
        assert_eq!(response.status().as_u16(), 413);
    }
    assert_eq!(run(&stack, "@say alive", json!({})).await.0, "alive");
    stack.assert_quiet();
}

#[tokio::test]
async fn bad_ids_paths_queries_and_offsets_are_refused() {
    let stack = Stack::start().await;
    let http = stack.http();
    for bad in [
        "x",
        "..",
        "018f4e2a7b3c7def8123456789abcdef",
        "018f4e2a-7b3c-7def-8123-456789abcdeg",
        "{018f4e2a-7b3c-7def-8123-456789abcdef}",
        "018f4e2a-7b3c-7def-8123-456789abcdef0",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%00",
        "%ff",
    ] {
        for (method, rest) in [
            (Method::PUT, ""),
            (Method::GET, ""),
            (Method::GET, "/output"),
            (Method::GET, "/events"),
            (Method::POST, "/cancel"),
            (Method::DELETE, ""),
        ] {
            // The client itself resolves `..` and `%2e%2e`: the resulting path is unknown, or does
            // not have this method.
            let answer = send(&http, method.clone(), &path(bad, rest), r#"{"prompt":"x"}"#).await;
            assert!(
                matches!(answer.0, 400 | 404 | 405),
                "{method} {bad}{rest}: {} {}",
                answer.0,
                answer.2
            );
        }
    }
    let unknown = id();
    for (method, rest) in [
        (Method::GET, ""),
        (Method::GET, "?follow=true"),
        (Method::GET, "/output"),
        (Method::GET, "/events"),
        (Method::POST, "/pause"),
        (Method::POST, "/resume"),
        (Method::POST, "/cancel"),
        (Method::DELETE, ""),
    ] {
        let answer = send(&http, method, &path(&unknown, rest), "").await;
        assert_problem(&answer, 404, "not-found", rest);
    }
    let upper = id().to_uppercase();
    let status = accept(&http, &upper, "@say a\u{e9}b", json!({})).await;
    assert_eq!(status["executionId"], upper.to_lowercase());
    let end = ended(&http, &upper.to_lowercase()).await;
    assert_eq!(end["outputBytes"], 4);
    for rest in [
        "/output?offset=-1",
        "/output?offset=x",
        "/output?offset=",
        "/output?offset=1&offset=2",
        "/output?offset=99999999999999999999",
        "/output?of=1",
        "?follow=maybe",
    ] {
        let answer = send(&http, Method::GET, &path(&upper, rest), "").await;
        assert_problem(&answer, 400, "invalid-query", rest);
    }
    let answer = send(&http, Method::GET, &path(&upper, "/output?offset=5"), "").await;
    assert_problem(&answer, 416, "offset-beyond-end", "beyond the end");
    assert_eq!(answer.2["length"], 4);
    let at_end = http.output(&upper, 4).await.expect("an empty stream");
    assert!(at_end.clean && at_end.bytes.is_empty());
    assert_eq!(at_end.trailers["output-length"], "4");
    for (query, code) in [
        ("limit=0", 400),
        ("limit=1001", 400),
        ("limit=1000", 200),
        ("limit=x", 400),
    ] {
        let answer = send(&http, Method::GET, &format!("/v1/executions?{query}"), "").await;
        assert_eq!(answer.0, code, "{query}");
    }
    let before = format!("/v1/executions?before={}", id());
    let answer = send(&http, Method::GET, &before, "").await;
    assert_problem(&answer, 404, "not-found", "an unknown before");
    let answer = send(&http, Method::PATCH, "/v1/executions", "").await;
    assert_problem(&answer, 405, "method-not-allowed", "PATCH");
    let answer = send(&http, Method::GET, "/v2", "").await;
    assert_problem(&answer, 404, "unknown-path", "/v2");
    stack.assert_quiet();
}

#[tokio::test]
async fn an_offset_beyond_the_end_of_a_running_execution_is_refused_at_once() {
    let stack = Stack::with(StackOptions::default()).await;
    let (http, id) = (stack.http(), id());
    accept(&http, &id, "@say 12345\n@tool 60", json!({})).await;
    crate::support::until(&http, &id, "5 bytes long", |status| {
        status["outputBytes"] == 5
    })
    .await;
    let beyond = path(&id, "/output?offset=6");
    let request = send(&http, Method::GET, &beyond, "");
    let answer = tokio::time::timeout(PATIENCE, request)
        .await
        .expect("at once");
    assert_problem(&answer, 416, "offset-beyond-end", "beyond the present end");
    assert_eq!(answer.2["length"], 5);
    send(&http, Method::POST, &path(&id, "/cancel"), "").await;
    ended(&http, &id).await;
    stack.assert_nothing_left(&id).await;
    stack.assert_quiet();
}
