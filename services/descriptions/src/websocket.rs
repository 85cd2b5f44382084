//! The JSON Schema document of the bridge's WebSocket messages (docs/protocol.md, "WebSocket of the
//! bridge").
//!
//! | schema in `$defs` | describes |
//! |---|---|
//! | `ClientFrame` | the text of one frame from a client: a request, or a batch |
//! | `ServerFrame` | the text of one frame from the bridge: a notification, an answer, or a batch |
//! | `executeRequest` and so on | a request of one method; [`request_schema`] has the names |
//! | `executeResult` and so on | the result of one method; [`result_schema`] has the names |
//! | `outputNotification` and so on | a notification; [`notification_schema`] has the names |
//! | `Answer`, `Refusal` | the envelopes of an answer with a result, or with an error |
//!
//! Members that begin with `x-` have the facts that JSON Schema cannot express: which result
//! belongs to which method, and the meaning of error reasons, notices and close codes.

mod answers;
pub mod errors;
pub mod notifications;
mod requests;

pub use answers::close_codes;

use protocol::PROTOCOL_VERSION;
use protocol::message::Request;
use serde_json::{Map, Value, json};

use crate::schema::{list, reference};
use crate::shared;

/// Text about the whole document.
const INTRODUCTION: &str = "The messages of a WebSocket session on `/ws`: JSON-RPC 2.0 in text \
    frames. The first message of the bridge is `connected`. Limits in bytes are in its `limits`. A \
    client ignores notifications and fields that it does not know, because a later bridge may send \
    more. The order of messages, reconnects and flow control are in docs/protocol.md.";

/// Returns the name of the schema of the requests of a method.
#[must_use]
pub fn request_schema(method: &str) -> String {
    format!("{method}Request")
}

/// Returns the name of the schema of the results of a method.
#[must_use]
pub fn result_schema(method: &str) -> String {
    format!("{method}Result")
}

/// Returns the name of the schema of a notification.
#[must_use]
pub fn notification_schema(method: &str) -> String {
    format!("{method}Notification")
}

/// Builds the document. [`crate::protocol_json`] has its text, which is built once.
#[must_use]
pub fn document() -> Value {
    let mut defs = shared::schemas();
    defs.extend(requests::schemas());
    defs.extend(answers::schemas());
    defs.extend(notifications::schemas());
    defs.extend(frames());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:cc-bridge:protocol:{PROTOCOL_VERSION}"),
        "title": "Messages between clients and the bridge of cc-bridge",
        "description": INTRODUCTION,
        "anyOf": [reference("ClientFrame"), reference("ServerFrame")],
        "$defs": defs,
        "x-methods": methods(),
        "x-notifications": notifications::names(),
        "x-errorReasons": errors::annotations(),
        "x-noticeCodes": notifications::notice_codes(),
        "x-closeCodes": answers::close_code_annotations(),
    })
}

/// Returns the parameters and the result of each method.
fn methods() -> Map<String, Value> {
    let methods = Request::METHODS.iter().map(|method| {
        let schemas = json!({
            "request": reference(&request_schema(method)),
            "result": reference(&result_schema(method)),
        });
        ((*method).to_owned(), schemas)
    });
    methods.collect()
}

/// Returns the schemas of whole frames.
fn frames() -> Map<String, Value> {
    let requests: Vec<_> = Request::METHODS
        .iter()
        .map(|method| reference(&request_schema(method)))
        .collect();
    let notifications: Vec<_> = notifications::names()
        .iter()
        .map(|name| reference(&notification_schema(name)))
        .collect();
    let non_empty = |items: Value, text: &str| {
        let mut list = list(items, text);
        list["minItems"] = 1.into();
        list
    };
    let answer = json!({ "anyOf": [reference("Answer"), reference("Refusal")] });
    let all = [
        ("ClientMessage", json!({ "oneOf": requests })),
        (
            "ClientBatch",
            non_empty(
                reference("ClientMessage"),
                "A batch of at most `batch` requests.",
            ),
        ),
        (
            "ClientFrame",
            json!({ "anyOf": [reference("ClientMessage"), reference("ClientBatch")] }),
        ),
        ("Notification", json!({ "oneOf": notifications })),
        (
            "AnswerBatch",
            non_empty(answer, "The answers to a batch, in one message."),
        ),
        (
            "ServerFrame",
            json!({ "anyOf": [
                reference("Notification"),
                reference("Answer"),
                reference("Refusal"),
                reference("AnswerBatch"),
            ] }),
        ),
    ];
    let all = all.into_iter();
    all.map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}
