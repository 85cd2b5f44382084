//! A receiver that is away, hangs or refuses delays no execution, and costs few lines of the log.

use std::time::{Duration, Instant};

use cc_tests::exposition::Page;
use cc_tests::harness::{Service, Stack, Tokens};
use cc_tests::otlp::{Answer, Receiver};
use serde_json::json;

use super::{run, traced, traceparent};
use crate::metrics::page;
use crate::support::PATIENCE;

/// Waits until this service has dropped spans for this reason; returns its page.
async fn dropped(service: &Service, name: &str, reason: &str) -> Page {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = page(service.addr()).await;
        if page.sum(name, &[("reason", reason)]) > 0.0 {
            return page;
        }
        assert!(Instant::now() < end, "{name} never counts {reason}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns how many lines of the log warn of dropped spans.
fn warnings(service: &Service) -> usize {
    let lines = service.lines();
    let is_warning = |line: &&serde_json::Value| {
        line["level"] == "WARN" && line.to_string().contains("dropped spans")
    };
    lines.iter().filter(is_warning).count()
}

/// Runs executions while the receiver at this endpoint fails; returns the stack afterwards.
async fn unaffected(endpoint: &str) -> Stack {
    let stack = Stack::with(traced(endpoint).one_bridge()).await;
    for _ in 0..20 {
        let trace = json!({"traceparent": traceparent()});
        let (_, text, status) = run(&stack, "@say fine", trace).await;
        assert_eq!((&*text, &status["state"]), ("fine", &json!("completed")));
    }
    stack
}

#[tokio::test]
async fn a_receiver_that_is_away_costs_one_warning_and_the_dropped_spans_are_counted() {
    // The port was free a moment ago.
    let away = Receiver::start(Answer::Accept).await.endpoint();
    let stack = unaffected(&away).await;
    for (service, name) in [
        (&stack.api, "claude_api_spans_dropped_total"),
        (&stack.bridge, "bridge_spans_dropped_total"),
    ] {
        dropped(service, name, "export_failed").await;
        run(&stack, "@say more", json!({})).await;
        assert_eq!(warnings(service), 1);
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn a_receiver_that_refuses_is_not_asked_for_each_span() {
    let receiver = Receiver::start(Answer::Refuse(500)).await;
    let stack = unaffected(&receiver.endpoint()).await;
    dropped(
        &stack.api,
        "claude_api_spans_dropped_total",
        "export_failed",
    )
    .await;
    // Twenty executions have more than a hundred spans.
    assert!(receiver.requests() < 50, "{}", receiver.requests());
    stack.assert_quiet();
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_a_stop_by_two_seconds_at_most() {
    let receiver = Receiver::start(Answer::Hang).await;
    let mut stack = unaffected(&receiver.endpoint()).await;
    for service in [&mut stack.bridge, &mut stack.api] {
        let begun = Instant::now();
        assert!(service.stop().await.success());
        let took = begun.elapsed();
        // The rest is for the stop itself, which has no execution to wait for.
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}

#[tokio::test]
async fn a_stop_exports_the_last_spans() {
    let receiver = Receiver::start(Answer::Accept).await;
    let mut stack = Stack::with(traced(&receiver.endpoint())).await;
    let trace = json!({"traceparent": traceparent()});
    run(&stack, "@say fine", trace).await;
    for service in [&mut stack.bridge, &mut stack.api] {
        assert!(service.stop().await.success());
    }
    let is_execution = |s: &cc_tests::otlp::Span| s.name == "execution";
    assert_eq!(
        receiver.spans().iter().filter(|s| is_execution(s)).count(),
        1
    );
}

#[tokio::test]
async fn monitoring_and_clients_without_a_token_cause_no_spans() {
    let receiver = Receiver::start(Answer::Accept).await;
    let tokens = Tokens::default().with("ci", "control", &[]);
    let token = tokens.secret("ci").to_owned();
    let stack = Stack::with(traced(&receiver.endpoint()).tokens(tokens)).await;
    let anyone = stack.http();
    for path in ["/health/ready", "/metrics", "/v1/limits", "/v1/executions"] {
        let _ = anyone.get(path).await.expect("an answer");
    }
    let http = cc_tests::http::Http::with_token(stack.api.addr(), &token);
    http.get("/v1/me").await.expect("an answer");
    let is_me = |s: &cc_tests::otlp::Span| s.name == "GET /v1/me";
    receiver
        .find("the span of an admitted request", is_me)
        .await;
    let others: Vec<_> = receiver.spans().into_iter().filter(|s| !is_me(s)).collect();
    // The bridge asks for the limits with no client.
    let others: Vec<_> = others
        .iter()
        .filter(|s| s.service == "claude-api")
        .collect();
    assert!(
        others.iter().all(|s| s.name == "GET /health/limits"),
        "{others:#?}"
    );
}
