//! A restart of claude-api keeps the trace, and a continuation joins it.

use cc_tests::harness::Stack;
use cc_tests::otlp::{Answer, Receiver};
use serde_json::json;

use super::{CLIENT, TRACE, traced, traceparent};
use crate::continuations::text_field;
use crate::support::{accept, ended, id, parsed, until};

#[tokio::test]
async fn a_restart_keeps_the_trace_and_the_span_of_queued_and_running_executions() {
    let receiver = Receiver::start(Answer::Accept).await;
    let options = traced(&receiver.endpoint()).api("--running-executions=1");
    let mut stack = Stack::with(options).await;
    let http = stack.http();
    let (running, queued) = (id(), id());
    let trace = json!({"traceparent": traceparent()});
    accept(&http, &running, "@env\n@tool 60", trace.clone()).await;
    let begun = |s: &serde_json::Value| s["outputBytes"].as_u64() > Some(0);
    until(&http, &running, "in its tool", begun).await;
    accept(&http, &queued, "@env", trace).await;
    stack.crash_api().await;
    let statuses = [ended(&http, &running).await, ended(&http, &queued).await];
    assert_eq!(statuses[0]["state"], "interrupted");
    assert_eq!(statuses[1]["state"], "completed");
    for execution in [&running, &queued] {
        let wanted = |s: &cc_tests::otlp::Span| {
            s.name == "execution" && s.attribute("ccb.execution.id") == *execution
        };
        let span = receiver.find("the span of an execution", wanted).await;
        assert_eq!(span.trace, TRACE);
        assert_eq!(span.parent, CLIENT, "the body names the parent");
        // The output of the interrupted execution is from before the restart.
        let output = http.output(execution, 0).await.expect("an output");
        let environment = parsed(&String::from_utf8(output.bytes).expect("UTF-8"));
        assert_eq!(environment["TRACEPARENT"], span.traceparent());
    }
}

#[tokio::test]
async fn a_continuation_by_policy_joins_the_trace_and_links_to_the_old_execution() {
    let receiver = Receiver::start(Answer::Accept).await;
    let mut stack = Stack::with(traced(&receiver.endpoint())).await;
    let (http, old) = (stack.http(), id());
    let body = json!({"traceparent": traceparent(), "onInterrupt": "continue"});
    accept(&http, &old, "@say so far\n@tool 60", body).await;
    until(&http, &old, "in its tool", |s| s["outputBytes"] == 6).await;
    stack.crash_api().await;
    let status = ended(&http, &old).await;
    let next = text_field(&status, "continuedBy").to_owned();
    ended(&http, &next).await;
    let of = |execution: String| {
        move |s: &cc_tests::otlp::Span| {
            s.name == "execution" && s.attribute("ccb.execution.id") == execution
        }
    };
    let first = receiver.find("the old execution", of(old.clone())).await;
    let second = receiver.find("the continuation", of(next)).await;
    assert_eq!((&*first.trace, &*second.trace), (TRACE, TRACE));
    assert_eq!(first.parent, second.parent);
    assert_eq!(second.links, [first.id]);
    assert_eq!(second.attribute("ccb.execution.continues"), old);
}
