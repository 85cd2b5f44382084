//! The span of each HTTP request.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use protocol::{ExecutionId, TraceContext};
use telemetry::Kind;

use super::refusals::route;
use super::reply::App;

/// The beginnings of paths that have no spans: monitoring requests them all the time.
const UNTRACED: [&str; 2] = ["/health", "/metrics"];

/// The extension of a request whose trace begins here: its headers named none. A trace in the body
/// overrides it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BeginsTrace;

/// Middleware that records a span for each admitted request, if spans are exported. The span is a
/// child of the trace in the headers. The handlers see the span as the parent, in the same headers.
/// The span of a stream ends with the head of the answer.
///
/// It is inside of the check of tokens, so that nobody without a token fills the queue of spans.
pub(super) async fn record(State(service): App, mut request: Request, next: Next) -> Response {
    let tracer = &service.engine.tracer;
    let path = request.uri().path();
    if !tracer.is_on() || UNTRACED.iter().any(|untraced| path.starts_with(untraced)) {
        return next.run(request).await;
    }
    let method = protocol::guard::shown_method(request.method());
    let route = route(path);
    let parent = TraceContext::from_headers(request.headers());
    let mut span = tracer.span(Kind::Server, parent.as_ref(), || {
        format!("{method} {route}")
    });
    if span.is_recorded() {
        span.set("http.request.method", method);
        if let Some(id) = execution_id(path) {
            span.set("ccb.execution.id", id.to_string());
        }
        span.set("http.route", route);
    }
    if let Some(context) = span.context() {
        context.set_headers(request.headers_mut());
    }
    if parent.is_none() {
        request.extensions_mut().insert(BeginsTrace);
    }
    let response = next.run(request).await;
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_u16().to_string());
    }
    response
}

/// Returns the execution that a path names.
fn execution_id(path: &str) -> Option<ExecutionId> {
    path.strip_prefix("/v1/executions/")?
        .split('/')
        .next()?
        .parse()
        .ok()
}
