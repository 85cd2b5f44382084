//! HTTP responses with JSON: statuses, and problems, which are the errors of this service (RFC
//! 9457).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::{Problem, ProblemType, problem};

use crate::service::Service;

/// The value of the header `Retry-After`, in seconds, in responses that refuse a request because
/// the service is full or stopping.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The argument with which every HTTP handler gets the service.
pub(crate) type App = State<Arc<Service>>;

/// An HTTP error response: the JSON of a [`Problem`], its status code, and the headers that this
/// code requires.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) Problem);

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, json(&problem)).into_response();
        // The count of refusals reads this ([`super::metrics`]).
        response.extensions_mut().insert(problem.kind);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(problem::CONTENT_TYPE),
        );
        if matches!(
            problem.kind,
            ProblemType::QueueFull
                | ProblemType::InputFull
                | ProblemType::InboundFull
                | ProblemType::TooManyStreams
                | ProblemType::TooManyConnections
                | ProblemType::Stopping
        ) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if let Some(seconds) = problem.extra.get("retryAfterSeconds") {
            let value = HeaderValue::from_str(&seconds.to_string());
            headers.extend(value.ok().map(|value| (header::RETRY_AFTER, value)));
        }
        if matches!(
            problem.kind,
            ProblemType::FromBox | ProblemType::Unauthorized
        ) {
            // RFC 9110, section 15.5.2: 401 names a scheme.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if problem.kind == ProblemType::UpgradeRequired {
            // RFC 9110, section 15.5.22: 426 names the protocol.
            headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        }
        response
    }
}

/// Serializes a value as one line of JSON. Returns no bytes if the value cannot be serialized,
/// which does not happen for the types of this service.
pub(crate) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    protocol::json::to_vec(value).unwrap_or_default()
}

/// Returns a response with a status code and a body that is JSON text already.
pub(crate) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Returns the response 404 `unknown-path`. If only a trailing slash is wrong, the text names the
/// right path.
pub(super) fn unknown_path(path: &str) -> Reply {
    let right = path.trim_end_matches('/');
    let detail = if right != path && right.starts_with('/') {
        format!("no path of this service ends with a slash; use {right}")
    } else {
        "this path does not exist; executions are at /v1/executions, health at /health/ready"
            .to_owned()
    };
    Reply(Problem::new(ProblemType::UnknownPath, detail))
}
