//! Operations about the service: limits, health, metrics and the descriptions.

use protocol::{Exposition, ProblemType as P};
use serde_json::{Value, json};

use super::operation::Operation;
use crate::schema::{Object, any_object, exactly, reference, text};

const TAG: &str = "service";

/// Returns the operations of this module.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = vec![limits(), live(), metrics(), openapi(), box_check()];
    all.push(health("/health/limits", "getHealthLimits", {
        "Returns the limits in force, without a token."
    }));
    all.extend([
        page("/health/startup", "getStartup", {
            "Returns whether the CLI was checked and the folders are writable."
        }),
        page(
            "/health/ready",
            "getReady",
            "Returns whether an execution would start now.",
        ),
        page(
            "/health",
            "getHealth",
            "Returns the same as `/health/ready`.",
        ),
    ]);
    all
}

fn limits() -> Operation {
    let text = "Returns the limits in force.";
    Operation::new(("GET", "/v1/limits"), "getLimits", TAG, text).json(
        200,
        "The limits.",
        reference("Limits"),
    )
}

fn health(path: &'static str, id: &'static str, text: &'static str) -> Operation {
    Operation::new(("GET", path), id, TAG, text).health().json(
        200,
        "The limits.",
        reference("Limits"),
    )
}

fn live() -> Operation {
    let schema = Object::new("").field("status", exactly("live")).build();
    let text = "Answers while the process is alive.";
    Operation::new(("GET", "/health/live"), "getLive", TAG, text)
        .health()
        .json(200, "The process answers.", schema)
}

/// Returns a page about the readiness of the service.
fn page(path: &'static str, id: &'static str, text: &'static str) -> Operation {
    Operation::new(("GET", path), id, TAG, text)
        .health()
        .json(200, "The service is ready.", reference("Ready"))
        .problems(&[P::NotReady])
}

fn metrics() -> Operation {
    let page = || text("All metrics.");
    let text = "Returns all metrics for Prometheus, in the format that `Accept` prefers. The token \
        needs the role `metrics` or `admin`.";
    let formats = [Exposition::Text, Exposition::OpenMetrics].map(Exposition::content_type);
    let content = formats.map(|kind| (kind, page()));
    Operation::new(("GET", "/metrics"), "getMetrics", TAG, text).answer(
        200,
        "The metrics.",
        &content,
    )
}

fn openapi() -> Operation {
    let text = "Returns this document. It needs no token.";
    Operation::new(("GET", "/openapi.json"), "getOpenapi", TAG, text)
        .public()
        .json(200, "This document.", any_object("An OpenAPI document."))
}

fn box_check() -> Operation {
    let text = "Answers the service's own check at its start. All other callers get 404.";
    Operation::new(("GET", "/health/box/{nonce}"), "checkBox", TAG, text)
        .health()
        .path_parameter("nonce", nonce())
        .json(
            200,
            "The service reached itself.",
            Object::new("").field("status", exactly("reached")).build(),
        )
        .problems(&[P::UnknownPath])
}

fn nonce() -> Value {
    json!({ "type": "string", "minLength": 1, "description": "The nonce of the check." })
}
