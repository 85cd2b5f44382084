//! The descriptions of both services for programs: an OpenAPI 3.1 document of claude-api's HTTP,
//! and a JSON Schema 2020-12 document of the bridge's WebSocket messages (docs/protocol.md,
//! "Descriptions for programs").
//!
//! - [`openapi`] has each path, method, parameter, header, body, status and problem type.
//! - [`websocket`] has each message of both directions.
//!
//! Both documents share one set of schemas ([`shared`]), such as the status object. Words, limits
//! and defaults come from the types and constants of `protocol`, so they cannot differ from the
//! code. Tests compare the rest: the names of fields with the types, the paths with the routers,
//! and both documents with each message of the test suites.
//!
//! The crate does no I/O. A document is built once, when it is first read, and then stays in
//! memory (about 200 KiB each).

mod names;
pub mod openapi;
mod schema;
pub mod shared;
pub mod websocket;

use std::sync::OnceLock;

use serde_json::Value;

/// The media type of the OpenAPI document, for the header `Content-Type`.
pub const OPENAPI_TYPE: &str = "application/json";
/// The media type of the JSON Schema document (draft-bhutton-json-schema-01, section 14.1).
pub const SCHEMA_TYPE: &str = "application/schema+json";

/// Returns the text of the OpenAPI document of claude-api, which `GET /openapi.json` serves.
#[must_use]
pub fn openapi_json() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| text(&openapi::document()))
}

/// Returns the text of the JSON Schema document of the bridge, which `GET /protocol.json` serves.
#[must_use]
pub fn protocol_json() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| text(&websocket::document()))
}

/// Returns a document as indented JSON, because people read it too.
fn text(document: &Value) -> String {
    format!("{document:#}\n")
}
