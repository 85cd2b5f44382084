//! The health pages, which monitoring probes read often. They show the results of checks that run
//! in the background, so a probe costs little.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::{Problem, ProblemType};

use super::reply::{App, Reply};
use super::reply::{json, json_response};
use crate::readiness::{Obstacle, no_tokens};

/// `GET /health/live`: always answers 200. It fails only if the process does not answer at all.
pub(crate) async fn live() -> Response {
    json_response(StatusCode::OK, br#"{"status":"live"}"#.to_vec())
}

/// `GET /health/startup`: answers 200 if the CLI starts and has the expected version, and the
/// folders are writable. Otherwise 503 `not-ready` with the reasons.
pub(crate) async fn startup(State(service): App) -> Response {
    answer(&service.engine.readiness.startup())
}

/// `GET /health/ready`: answers 200 if an execution would start now, with warnings about missing
/// protections. Otherwise 503 `not-ready` with the reasons, each with its remedy. Both have the
/// facts about the use of the credential.
pub(crate) async fn ready(State(service): App) -> Response {
    // On a blocking thread: the check of the credential's file is a stat, which a dead disk blocks.
    let readiness = service.engine.readiness.clone();
    let check = move || {
        let engine = &service.engine;
        let uses_login = readiness.uses_login();
        let mut warnings = crate::sandbox::warnings(&engine.settings.args, uses_login);
        warnings.extend(readiness.credential_warning());
        warnings.extend(readiness.tokens_warning());
        if engine.access.refuses_everybody() {
            warnings.push(no_tokens());
        }
        warnings.extend(readiness.network_warnings());
        let credential = match engine.access.has_tokens() {
            // Nobody needs a token for this page, and a time would tell when executions end.
            true => readiness.credential_facts().in_hours(),
            false => readiness.credential_facts(),
        };
        (readiness.obstacles(), warnings, credential)
    };
    match spool::blocking::run(check).await {
        Ok((obstacles, warnings, credential)) if obstacles.is_empty() => {
            let body = serde_json::json!({
                "status": "ready", "reasons": [], "warnings": warnings, "credential": credential,
            });
            json_response(StatusCode::OK, body.to_string().into_bytes())
        }
        Ok((obstacles, _, credential)) => {
            let credential = serde_json::to_value(credential).unwrap_or_default();
            Reply(not_ready(&obstacles).with("credential", credential)).into_response()
        }
        Err(_) => Reply(Problem::new(ProblemType::Internal, "the check failed")).into_response(),
    }
}

/// Returns 200 if there are no obstacles, otherwise 503 `not-ready` with all of them.
fn answer(obstacles: &[Obstacle]) -> Response {
    if obstacles.is_empty() {
        let body = serde_json::json!({"status": "ready", "reasons": [], "warnings": []});
        return json_response(StatusCode::OK, body.to_string().into_bytes());
    }
    Reply(not_ready(obstacles)).into_response()
}

/// Returns the problem `not-ready` with these obstacles.
fn not_ready(obstacles: &[Obstacle]) -> Problem {
    let detail: Vec<_> = obstacles
        .iter()
        .map(|o| format!("{}: {}", o.message, o.remedy))
        .collect();
    let reasons = serde_json::to_value(obstacles).unwrap_or_default();
    Problem::new(ProblemType::NotReady, detail.join("; ")).with("reasons", reasons)
}

/// `GET /v1/limits`, and `GET /health/limits` for a bridge, which has no token: answers with the
/// limits that this service enforces, as JSON.
pub(crate) async fn limits(State(service): App) -> Response {
    json_response(StatusCode::OK, json(&service.engine.settings.limits))
}
