//! The lines with which claude-api answers control requests of the CLI (docs/claude-cli.md,
//! "Permission prompts").

use serde_json::{Value, json};

/// Returns the `response` for the CLI that denies a permission prompt. The model reads the message.
pub(crate) fn denial(message: &str) -> Value {
    json!({ "behavior": "deny", "message": message })
}

/// Returns the line that answers a control request of the CLI.
pub(crate) fn success_line(request_id: &str, response: &Value) -> Value {
    let inner = json!({
        "subtype": "success", "request_id": request_id, "response": response,
    });
    json!({ "type": "control_response", "response": inner })
}

/// Returns the line that refuses a control request of the CLI.
pub(crate) fn error_line(request_id: &str, error: &str) -> Value {
    let inner = json!({ "subtype": "error", "request_id": request_id, "error": error });
    json!({ "type": "control_response", "response": inner })
}
