//! Ids of executions.

use serde_json::{Value, json};

/// The pattern of a UUID with hyphens (RFC 9562, section 4), in upper or lower case.
pub(super) const UUID_PATTERN: &str =
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";

/// Returns the schema of an execution id.
pub(super) fn execution_id() -> Value {
    json!({
        "type": "string",
        "format": "uuid",
        "pattern": UUID_PATTERN,
        "description": "The id of an execution: a UUID (RFC 9562) with hyphens. Upper case is \
            accepted in requests; answers have lower case.",
    })
}
