//! The HTTP pages of the bridge: the list of paths, health, metrics and the schema of messages.

use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ACCEPT, VARY};
use http::{HeaderMap, HeaderValue};
use protocol::{Exposition, Problem, ProblemType, problem};
use serde_json::{Value, json};

use super::access::{Access, Admission, Purpose, no_answer, presented, unauthorized};
use super::app::App;
use super::peer::Client;
use super::problems::response;
use crate::metrics::Snapshot;

const JSON: &str = "application/json";

/// Serves `GET /`: a text that lists the paths of the bridge, for people.
pub async fn front() -> Response {
    let text = "cc-bridge: JSON-RPC over WebSocket on /ws, MCP on /mcp; \
                health on /health/ready, metrics on /metrics, \
                the schema of all messages on /protocol.json\n";
    response(200, "text/plain; charset=utf-8", text)
}

/// Serves `GET /health/live`, the liveness probe. Answers 200 as long as the process runs, even if
/// claude-api is down.
pub async fn live() -> Response {
    response(200, JSON, r#"{"status":"live"}"#)
}

/// Serves `GET /health/ready`, the readiness probe. Answers 200 if claude-api is ready and serves
/// this bridge. Otherwise answers 503 (Service Unavailable) with the reasons and remedies. They are
/// claude-api's own, or one of these: claude-api cannot be reached, it refuses this bridge, or the
/// bridge serves nobody because everybody could run prompts.
pub async fn ready(State(app): State<App>) -> Response {
    if app.access.is_exposed() {
        return exposed_page();
    }
    match app.upstream.ready().await {
        Ok((200, _)) if app.boxed.is_refused().await => refused_page(),
        Ok((200, body)) => ready_page(&body),
        Ok((_, body)) => match serde_json::from_slice::<Problem>(&body) {
            // The reasons and remedies of claude-api are passed on.
            Ok(problem) => {
                let body = serde_json::to_vec(&problem).unwrap_or_default();
                response(503, problem::CONTENT_TYPE, body)
            }
            Err(_) => unreachable_page("the answer of claude-api is not a readiness page"),
        },
        Err(error) => {
            tracing::debug!(
                %error,
                "could not read the readiness page of claude-api; answered with 503"
            );
            unreachable_page("claude-api cannot be reached")
        }
    }
}

/// Creates the 200 readiness page from that of claude-api. It has the facts about the use of the
/// credential, if claude-api gives them.
fn ready_page(body: &[u8]) -> Response {
    let page: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut ready = json!({ "status": "ready" });
    if let Some(credential) = page.get("credential") {
        ready["credential"] = credential.clone();
    }
    response(200, JSON, ready.to_string())
}

/// Creates the 503 readiness page for a claude-api that does not answer, or not as claude-api
/// would.
fn unreachable_page(detail: &str) -> Response {
    let remedy = "start claude-api, or set --claude-api-url (BRIDGE_CLAUDE_API_URL) to its address";
    let reasons =
        json!([{ "code": "claude_api_unreachable", "message": detail, "remedy": remedy }]);
    let problem = Problem::new(ProblemType::NotReady, detail).with("reasons", reasons);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    // The page is no refusal, so it is not counted.
    response(problem.status, problem::CONTENT_TYPE, body)
}

/// Creates the 503 readiness page for a claude-api that refuses this bridge, because it takes the
/// bridge's address for one of its own container.
fn refused_page() -> Response {
    let detail = "claude-api refuses this bridge: its address is one of claude-api's container";
    let remedy = "give each service its own address, or set CLAUDE_API_BOXED=false";
    let reasons = json!([{ "code": "from-the-box", "message": detail, "remedy": remedy }]);
    let problem = Problem::new(ProblemType::NotReady, detail).with("reasons", reasons);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response(problem.status, problem::CONTENT_TYPE, body)
}

/// Creates the 503 readiness page of a bridge that other machines reach although claude-api has no
/// tokens.
fn exposed_page() -> Response {
    let (message, remedy) = Access::exposed_reason();
    let reasons = json!([{ "code": "unauthenticated", "message": message, "remedy": remedy }]);
    let problem = Problem::new(ProblemType::NotReady, message).with("reasons", reasons);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response(problem.status, problem::CONTENT_TYPE, body)
}

/// Serves `GET /protocol.json`: the JSON Schema of all WebSocket messages. It needs no token,
/// because it has no secret. The first call builds it; it then stays in memory (about 200 KiB). The
/// response holds no copy of it.
pub async fn protocol() -> Response {
    response(
        200,
        descriptions::SCHEMA_TYPE,
        descriptions::protocol_json(),
    )
}

/// Serves `GET /metrics`: all metrics for Prometheus. The format is OpenMetrics or the older
/// Prometheus text, as the client's `Accept` header asks. If claude-api has tokens, the client
/// needs one with the role `metrics` or `admin`.
pub async fn metrics(State(app): State<App>, request: Request) -> Response {
    let (client, headers) = (Client::of(&request), request.headers().clone());
    let presented = match presented(&headers, false) {
        Ok(presented) => presented,
        Err(detail) => return unauthorized(detail),
    };
    let admission = app
        .access
        .admit(&presented, None, client.address, Purpose::Metrics);
    match admission.await {
        Admission::Granted(_) => metrics_page(&app, &headers),
        Admission::Refused(response) => *response,
        Admission::NoAnswer => no_answer(),
    }
}

fn metrics_page(app: &App, headers: &HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter();
    let format = Exposition::accepted(accept.filter_map(|value| value.to_str().ok()));
    let shared = &app.shared;
    let snapshot = Snapshot {
        sessions: app.open_sessions.load(Ordering::Acquire),
        session_limit: shared.own_limits.sessions,
        inbound_bytes: shared.budgets.inbound_used(),
        outbound_bytes: shared.budgets.outbound.used(),
        inbound_limit_bytes: shared.own_limits.inbound_bytes,
        outbound_limit_bytes: shared.budgets.outbound.limits().common,
    };
    let page = shared.viewer.metrics.page(snapshot, format);
    let mut response = response(200, format.content_type(), page);
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}
