//! Where the trace context comes from: a header, a field of the body, or nothing.

use cc_tests::harness::{Stack, StackOptions};
use cc_tests::otlp::{Answer, Receiver};
use reqwest::Method;
use serde_json::{Value, json};

use super::{TRACE, run, span, traced, traceparent};
use crate::support::{ended, id, parsed, path};

/// Another trace, for requests that name two.
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";

/// Sends a PUT with these headers, and returns the environment of the CLI.
async fn environment(stack: &Stack, headers: &[(&str, &str)], extra: Value) -> Value {
    let (http, id) = (stack.http(), id());
    let mut body = json!({"prompt": "@env"});
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    let mut request = http.request(Method::PUT, &path(&id, ""));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("accept", "application/json");
    let answer = request
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
    ended(&http, &id).await;
    let output = http.output(&id, 0).await.expect("an output");
    parsed(&String::from_utf8(output.bytes).expect("UTF-8"))
}

#[tokio::test]
async fn without_an_export_the_cli_gets_the_clients_own_context() {
    let stack = Stack::start().await;
    let parent = traceparent();
    for (headers, body) in [
        (vec![("traceparent", &*parent)], json!({})),
        (vec![], json!({"traceparent": parent})),
        // The header is that of the nearest sender.
        (
            vec![("traceparent", &*parent)],
            json!({"traceparent": OTHER}),
        ),
    ] {
        let seen = environment(&stack, &headers, body.clone()).await;
        assert_eq!(seen["TRACEPARENT"], parent, "{headers:?} {body}");
        assert_eq!(seen.get("TRACESTATE"), None, "{headers:?} {body}");
    }
    let state = [
        ("traceparent", &*parent),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    let seen = environment(&stack, &state, json!({})).await;
    assert_eq!(seen["TRACESTATE"], "a=1,b=2");
    let trace = json!({"traceparent": parent, "tracestate": "a=1"});
    let (_, text, _) = run(&stack, "@env", trace).await;
    let seen = parsed(&text);
    assert_eq!(
        (&seen["TRACEPARENT"], &seen["TRACESTATE"]),
        (&json!(parent), &json!("a=1"))
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn a_malformed_context_is_ignored_and_the_execution_runs() {
    let options = StackOptions::default().api("--allowed-env=TRACEPARENT");
    let stack = Stack::with(options).await;
    let upper = traceparent().to_uppercase();
    for text in ["", "x", "00-0-0-01", &upper, &"a".repeat(10_000)] {
        let seen = environment(&stack, &[("traceparent", text)], json!({})).await;
        assert_eq!(seen.get("TRACEPARENT"), None, "{text}");
        let seen = environment(&stack, &[], json!({"traceparent": text})).await;
        assert_eq!(seen.get("TRACEPARENT"), None, "{text}");
    }
    let parent = traceparent();
    let twice = [("traceparent", &*parent), ("traceparent", OTHER)];
    let seen = environment(&stack, &twice, json!({})).await;
    assert_eq!(seen.get("TRACEPARENT"), None);
    // A client's own variable is its own, unless there is a trace.
    let own = json!({"env": {"TRACEPARENT": "mine"}});
    let seen = environment(&stack, &[], own.clone()).await;
    assert_eq!(seen["TRACEPARENT"], "mine");
    let seen = environment(&stack, &[("traceparent", &*parent)], own).await;
    assert_eq!(seen["TRACEPARENT"], parent);
    stack.assert_quiet();
}

#[tokio::test]
async fn a_repeated_put_in_another_trace_finds_the_same_execution() {
    let receiver = Receiver::start(Answer::Accept).await;
    let stack = Stack::with(traced(&receiver.endpoint())).await;
    let (http, id) = (stack.http(), id());
    for (parent, code) in [(&*traceparent(), 201), (OTHER, 200)] {
        let body = json!({"prompt": "@say x", "traceparent": parent}).to_string();
        let request = http.request(Method::PUT, &path(&id, "")).body(body);
        let answer = request.header("accept", "application/json").send().await;
        assert_eq!(answer.expect("an answer").status(), code);
    }
    ended(&http, &id).await;
    // The first request decides: it accepted the execution.
    let execution = |s: &cc_tests::otlp::Span| s.name == "execution";
    let execution = receiver.find("the span of the execution", execution).await;
    assert_eq!(execution.attribute("ccb.execution.id"), id);
    stack.assert_quiet();
}

#[tokio::test]
async fn an_unsampled_trace_is_passed_on_and_exports_nothing() {
    let receiver = Receiver::start(Answer::Accept).await;
    let stack = Stack::with(traced(&receiver.endpoint())).await;
    let parent = traceparent().replace("-01", "-00");
    let (_, text, _) = run(&stack, "@env", json!({"traceparent": parent})).await;
    assert_eq!(parsed(&text)["TRACEPARENT"], parent);
    // A recorded trace afterwards shows that nothing else is on its way.
    run(&stack, "@say x", json!({"traceparent": OTHER})).await;
    let other = &OTHER[3..35];
    span(&receiver, "claude-api", "execution", other).await;
    let of_trace: Vec<_> = receiver
        .spans()
        .into_iter()
        .filter(|s| s.trace == TRACE)
        .collect();
    assert_eq!(of_trace, Vec::new());
}

#[tokio::test]
async fn the_ratio_decides_about_traces_that_begin_in_the_services() {
    let receiver = Receiver::start(Answer::Accept).await;
    let endpoint = receiver.endpoint();
    let options = traced(&endpoint)
        .api("--otlp-sample-ratio=0")
        .bridge("--otlp-sample-ratio=0");
    let stack = Stack::with(options).await;
    let (_, text, _) = run(&stack, "@env", json!({})).await;
    let own = parsed(&text)["TRACEPARENT"]
        .as_str()
        .expect("a trace")
        .to_owned();
    assert!(own.ends_with("-00"), "{own}");
    run(&stack, "@say x", json!({"traceparent": traceparent()})).await;
    span(&receiver, "claude-api", "execution", TRACE).await;
    let others: Vec<_> = receiver
        .spans()
        .into_iter()
        .filter(|s| s.trace != TRACE)
        .collect();
    assert_eq!(others, Vec::new());
}
