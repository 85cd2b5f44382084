//! Health: what is asked often is answered from memory.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::{Problem, ProblemType};

use super::reply::{App, Reply};
use super::reply::{json, json_response};
use crate::readiness::Obstacle;

/// `GET /health/live`: the process answers.
pub(crate) async fn live() -> Response {
    json_response(StatusCode::OK, br#"{"status":"live"}"#.to_vec())
}

/// `GET /health/startup`: the CLI was started, is the expected version, and the folders are writable.
pub(crate) async fn startup(State(service): App) -> Response {
    answer(&service.engine.readiness.startup())
}

/// `GET /health/ready`: an execution would start now.
pub(crate) async fn ready(State(service): App) -> Response {
    // The credential's file is looked at: a stat, which may block on a dead disk.
    let readiness = service.engine.readiness.clone();
    let look = move || {
        let open =
            crate::sandbox::warnings(&service.engine.settings.args, &service.engine.environment);
        (readiness.obstacles(), open)
    };
    match spool::blocking::run(look).await {
        Ok((obstacles, open)) if obstacles.is_empty() => is_ready(&open),
        Ok((obstacles, _)) => answer(&obstacles),
        Err(_) => Reply(Problem::new(ProblemType::Internal, "the check failed")).into_response(),
    }
}

/// Ready, with what a person should know nevertheless.
fn is_ready(warnings: &[Obstacle]) -> Response {
    let body = serde_json::json!({"status": "ready", "reasons": [], "warnings": warnings});
    json_response(StatusCode::OK, body.to_string().into_bytes())
}

fn answer(obstacles: &[Obstacle]) -> Response {
    if obstacles.is_empty() {
        return is_ready(&[]);
    }
    let detail: Vec<_> = obstacles
        .iter()
        .map(|o| format!("{}: {}", o.message, o.remedy))
        .collect();
    let reasons = serde_json::to_value(obstacles).unwrap_or_default();
    Reply(Problem::new(ProblemType::NotReady, detail.join("; ")).with("reasons", reasons))
        .into_response()
}

/// `GET /v1/limits`.
pub(crate) async fn limits(State(service): App) -> Response {
    json_response(StatusCode::OK, json(&service.engine.settings.limits))
}
