//! The HTTP responses to refused requests. Their bodies are problem objects (docs/protocol.md,
//! "Problem types").

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use protocol::guard::Foreign;
use protocol::{Problem, ProblemType, problem};

use crate::access::grant::Grant;

/// Creates an HTTP response that no cache may store. `kind` is its `Content-Type`. An invalid
/// `status` becomes 500 (Internal Server Error).
pub(super) fn response(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
    (status, headers, body.into()).into_response()
}

/// The reason why an HTTP response refuses its request. It is an extension of the response, and the
/// outermost middleware counts it in `/metrics`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

/// The grant of the client whose request is refused, for the audit log. It is an extension of the
/// response.
#[derive(Debug, Clone)]
pub(super) struct AuditedAs(pub(super) Arc<Grant>);

/// Creates the HTTP response that refuses a request with this problem object, marked so that
/// `/metrics` counts it.
pub(super) fn problem_page(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = response(problem.status, problem::CONTENT_TYPE, body);
    let refused = Refused(problem.kind.as_str());
    response.extensions_mut().insert(refused);
    response
}

/// Creates the 403 (Forbidden) response to a request whose `Host` or `Origin` header is not
/// allowed.
#[must_use]
pub(super) fn foreign(foreign: &Foreign) -> Response {
    let kind = match foreign {
        Foreign::Host(_) => ProblemType::ForeignHost,
        Foreign::Origin(_) => ProblemType::ForeignOrigin,
    };
    problem_page(&Problem::new(kind, foreign.to_string()))
}

/// Creates the 404 (Not Found) response to a path that the bridge does not serve.
pub(super) async fn unknown_path() -> Response {
    let detail =
        "no such path; WebSocket sessions are on /ws, MCP is on /mcp, health on /health/ready";
    problem_page(&Problem::new(ProblemType::UnknownPath, detail))
}

/// Creates the 405 (Method Not Allowed) response for the path that accepts only POST.
pub(super) async fn only_post() -> Response {
    let detail = "this path accepts only POST";
    problem_page(&Problem::new(ProblemType::MethodNotAllowed, detail))
}

/// Creates the 405 (Method Not Allowed) response for a path that accepts only GET.
pub(super) async fn method_not_allowed() -> Response {
    let detail = "this path accepts only GET";
    problem_page(&Problem::new(ProblemType::MethodNotAllowed, detail))
}
