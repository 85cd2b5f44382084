//! The HTTP responses to refused requests, as problem objects (docs/protocol.md, "Problem types").

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use protocol::guard::Foreign;
use protocol::{Problem, ProblemType, problem};

/// Creates a response that no cache stores. `kind`: its content type.
pub(super) fn response(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
    (status, headers, body.into()).into_response()
}

/// An extension of a response that refuses a request, with the type of its problem. The guard
/// counts it in `/metrics`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

/// Creates the response that refuses a request with this problem, marked for `/metrics`.
pub(super) fn problem_page(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = response(problem.status, problem::CONTENT_TYPE, body);
    let refused = Refused(problem.kind.as_str());
    response.extensions_mut().insert(refused);
    response
}

/// Creates the 403 response to a request whose `Host` or `Origin` is not allowed.
#[must_use]
pub(super) fn foreign(foreign: &Foreign) -> Response {
    let kind = match foreign {
        Foreign::Host(_) => ProblemType::ForeignHost,
        Foreign::Origin(_) => ProblemType::ForeignOrigin,
    };
    problem_page(&Problem::new(kind, foreign.to_string()))
}

/// Creates the 404 response to a path that the bridge does not have.
pub(super) async fn unknown_path() -> Response {
    let detail =
        "no such path; WebSocket sessions are on /ws, MCP is on /mcp, health on /health/ready";
    problem_page(&Problem::new(ProblemType::UnknownPath, detail))
}

/// Creates the 405 response to a method other than GET.
pub(super) async fn method_not_allowed() -> Response {
    let detail = "this path accepts only GET";
    problem_page(&Problem::new(ProblemType::MethodNotAllowed, detail))
}
