//! The HTTP page `/metrics` for Prometheus.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use protocol::Exposition;

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
