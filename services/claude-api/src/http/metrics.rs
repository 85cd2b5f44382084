//! The HTTP page `/metrics` for Prometheus, and the count of refused requests.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::{Exposition, ProblemType};

use super::reply::{App, Reply};
use crate::access::{Caller, Right};

/// `GET /metrics`: answers with all metrics as Prometheus text or OpenMetrics, as the client's
/// `Accept` prefers. All values are in memory. Without the right to read metrics, 403 `forbidden`.
pub(crate) async fn metrics(
    State(service): App,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Reply> {
    caller.check(Right::Metrics)?;
    let accept = headers.get_all(header::ACCEPT).iter();
    let format = Exposition::accepted(accept.filter_map(|value| value.to_str().ok()));
    let head = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
    ];
    Ok((head, service.metrics_page(format)).into_response())
}

/// Middleware that counts the requests answered with an error (a problem, RFC 9457), by its type.
pub(super) async fn count_refusals(State(service): App, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(kind) = response.extensions().get::<ProblemType>() {
        service.engine.metrics.refused(*kind);
    }
    response
}
