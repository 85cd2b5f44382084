//! The pages beside the WebSocket: health, metrics, problems.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use protocol::guard::Foreign;
use protocol::{Exposition, Problem, ProblemType, problem};
use serde_json::json;

use super::app::App;
use crate::metrics::Now;

const JSON: &str = "application/json";

fn response(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
    (status, headers, body.into()).into_response()
}

/// Marks the answer to a refused request, with the type of its problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

pub(super) fn problem_page(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = response(problem.status, problem::CONTENT_TYPE, body);
    let refused = Refused(problem.kind.as_str());
    response.extensions_mut().insert(refused);
    response
}

/// 403, for a foreign `Host` or `Origin`.
#[must_use]
pub fn foreign(foreign: &Foreign) -> Response {
    let kind = match foreign {
        Foreign::Host(_) => ProblemType::ForeignHost,
        Foreign::Origin(_) => ProblemType::ForeignOrigin,
    };
    problem_page(&Problem::new(kind, foreign.to_string()))
}

/// 404.
pub async fn unknown_path() -> Response {
    let detail =
        "no such path; WebSocket sessions are on /ws, MCP is on /mcp, health on /health/ready";
    problem_page(&Problem::new(ProblemType::UnknownPath, detail))
}

/// 405.
pub async fn method_not_allowed() -> Response {
    let detail = "this path takes GET only";
    problem_page(&Problem::new(ProblemType::MethodNotAllowed, detail))
}

/// `/`
pub async fn front() -> Response {
    let text = "cc-bridge: JSON-RPC over WebSocket on /ws, MCP on /mcp; /health/ready and /metrics beside them\n";
    response(200, "text/plain; charset=utf-8", text)
}

/// `/health/live`: the process answers.
pub async fn live() -> Response {
    response(200, JSON, r#"{"status":"live"}"#)
}

/// `/health/ready`: claude-api is ready.
pub async fn ready(State(app): State<App>) -> Response {
    match app.shared.viewer.upstream.ready().await {
        Ok((200, _)) if app.boxed.is_refused().await => refused_page(),
        Ok((200, _)) => response(200, JSON, r#"{"status":"ready"}"#),
        Ok((_, body)) => match serde_json::from_slice::<Problem>(&body) {
            // Its reasons and remedies, as they are.
            Ok(problem) => {
                let body = serde_json::to_vec(&problem).unwrap_or_default();
                response(503, problem::CONTENT_TYPE, body)
            }
            Err(_) => unreachable_page("claude-api answers, but not as it should"),
        },
        Err(error) => {
            tracing::debug!(%error, "not ready");
            unreachable_page("claude-api unreachable")
        }
    }
}

fn unreachable_page(detail: &str) -> Response {
    let remedy = "start claude-api, or point --claude-api-url (BRIDGE_CLAUDE_API_URL) at it";
    let reasons =
        json!([{ "code": "claude_api_unreachable", "message": detail, "remedy": remedy }]);
    let problem = Problem::new(ProblemType::NotReady, detail).with("reasons", reasons);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    // The page refuses nothing: it is not counted.
    response(problem.status, problem::CONTENT_TYPE, body)
}

fn refused_page() -> Response {
    let detail = "claude-api takes this bridge for what its model runs, and refuses it";
    let remedy = "give both services addresses of their own, or set CLAUDE_API_BOXED=false";
    let reasons = json!([{ "code": "from-the-box", "message": detail, "remedy": remedy }]);
    let problem = Problem::new(ProblemType::NotReady, detail).with("reasons", reasons);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response(problem.status, problem::CONTENT_TYPE, body)
}

/// `/metrics`: answered from memory, in the format that the client reads.
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter();
    let format = Exposition::accepted(accept.filter_map(|value| value.to_str().ok()));
    let shared = &app.shared;
    let now = Now {
        sessions: app.open.load(Ordering::Acquire),
        inbound_bytes: shared.budgets.inbound_used(),
        outbound_bytes: shared.budgets.outbound.used(),
        inbound_limit_bytes: shared.own.inbound_bytes,
        outbound_limit_bytes: shared.budgets.outbound.limits().all,
    };
    let page = shared.viewer.metrics.page(now, format);
    let mut response = response(200, format.content_type(), page);
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}
