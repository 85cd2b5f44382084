//! Traces: the spans of both services, the trace context from the client to the CLI, and receivers
//! that are away, slow or refuse.

mod bounds;
mod context;
mod restart;
mod secrets;

use cc_tests::harness::{Stack, StackOptions};
use cc_tests::otlp::{Receiver, Span};
use serde_json::{Value, json};

/// The trace of a client, and the text of its `traceparent`.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// The span of the client.
const CLIENT: &str = "b7ad6b7169203331";

/// Returns the `traceparent` of a client.
fn traceparent() -> String {
    format!("00-{TRACE}-{CLIENT}-01")
}

/// Returns the options of a stack whose services send spans to this endpoint.
fn traced(endpoint: &str) -> StackOptions {
    StackOptions::default()
        .api(format!("--otlp-endpoint={endpoint}"))
        .bridge(format!("--otlp-endpoint={endpoint}"))
}

/// Waits for the one span of this service and name with this trace.
async fn span(receiver: &Receiver, service: &str, name: &str, trace: &str) -> Span {
    let what = format!("a span {name:?} of {service} in the trace {trace}");
    let wanted = |s: &Span| (&*s.service, &*s.name, &*s.trace) == (service, name, trace);
    receiver.find(&what, wanted).await
}

/// Executes a prompt through the bridge to its end; returns its id, output and terminal status.
async fn run(stack: &Stack, prompt: &str, extra: Value) -> (String, String, Value) {
    let mut client = stack.client().await;
    let answer = client.execute(prompt, extra).await;
    let id = answer["executionId"].as_str().expect("an id").to_owned();
    let status = crate::support::ended(&stack.http(), &id).await;
    let output = stack.http().output(&id, 0).await.expect("an output");
    client.wait_terminal(&id).await;
    client.finish().await;
    let text = String::from_utf8(output.bytes).expect("UTF-8");
    (id, text, status)
}

#[tokio::test]
async fn the_spans_of_an_execution_form_one_trace_from_the_client_to_the_cli() {
    let receiver = Receiver::start(cc_tests::otlp::Answer::Accept).await;
    let stack = Stack::with(traced(&receiver.endpoint()).one_bridge()).await;
    let trace = json!({"traceparent": traceparent(), "tracestate": "rojo=1"});
    let (id, environment, status) = run(&stack, "@env", trace).await;
    let execute = span(&receiver, "bridge", "execute", TRACE).await;
    let put = span(&receiver, "bridge", "PUT", TRACE).await;
    let accept = span(&receiver, "claude-api", "PUT /v1/executions/{id}", TRACE).await;
    let execution = span(&receiver, "claude-api", "execution", TRACE).await;
    assert_eq!(execute.parent, CLIENT);
    assert_eq!(put.parent, execute.id);
    assert_eq!(accept.parent, put.id);
    assert_eq!(execution.parent, accept.id);
    for span in [&execute, &accept, &execution] {
        assert_eq!(span.attribute("ccb.execution.id"), id);
        assert_eq!(span.state, "rojo=1");
        assert!(!span.failed, "{span:?}");
    }
    assert_eq!(put.attribute("http.response.status_code"), "201");
    assert_eq!(execution.attribute("ccb.execution.state"), "completed");
    assert_eq!(
        execution.attribute("ccb.execution.cost_usd"),
        status["costUsd"].to_string()
    );
    assert_eq!(
        execution.attribute("gen_ai.usage.output_tokens"),
        status["usage"]["output_tokens"].to_string()
    );
    assert_eq!(
        execution.events.first().map(String::as_str),
        Some("accepted")
    );
    let rest = ["started", "first_output", "ended"];
    assert!(
        execution.events.ends_with(&rest.map(str::to_owned)),
        "{execution:?}"
    );
    assert!(execution.time.0 > 0 && execution.time.0 <= execution.time.1);
    let environment = crate::support::parsed(&environment);
    assert_eq!(environment["TRACEPARENT"], execution.traceparent());
    assert_eq!(environment["TRACESTATE"], "rojo=1");
    // The streams of the view belong to the execute.
    let output = span(
        &receiver,
        "claude-api",
        "GET /v1/executions/{id}/output",
        TRACE,
    )
    .await;
    let is_stream = |s: &Span| s.service == "bridge" && s.id == output.parent;
    let get = receiver.find("the request of the stream", is_stream).await;
    assert_eq!(get.parent, execute.id);
    stack.assert_quiet();
}

#[tokio::test]
async fn a_failed_execution_has_a_failed_span_with_its_reason() {
    let receiver = Receiver::start(cc_tests::otlp::Answer::Accept).await;
    let stack = Stack::with(traced(&receiver.endpoint())).await;
    let trace = json!({"traceparent": traceparent()});
    let (_, _, status) = run(&stack, "@exit 3", trace).await;
    assert_eq!(status["state"], "failed", "{status}");
    let execution = span(&receiver, "claude-api", "execution", TRACE).await;
    assert!(execution.failed);
    assert_eq!(
        execution.attribute("ccb.execution.reason"),
        status["reason"].as_str().expect("a reason")
    );
    assert_eq!(execution.attribute("ccb.execution.exit_code"), "3");
}
