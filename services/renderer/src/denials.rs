//! Denied tools (tool calls that the CLI's permission rules refused), shortened for the status of
//! an execution.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::event::{Denied, short, text, word};
use crate::sanitise::value;

/// The longest denial that keeps the tool's input, in bytes of JSON (1 KiB). The input may be a
/// whole file.
const LONGEST_DENIAL_BYTES: usize = 1 << 10;

/// The most characters that are kept of the message of a denied tool. Its first sentence is for
/// people; the rest is for the model.
const LONGEST_MESSAGE_CHARS: usize = 300;

/// Returns the denial that a `system/permission_denied` event announces, as a JSON object.
pub(crate) fn from_event(event: &Denied<'_>) -> Value {
    let message = text(event.message.as_ref())
        .map(|text| text.chars().take(LONGEST_MESSAGE_CHARS).collect::<String>());
    json!({
        "tool_name": word(event.tool_name.as_ref()),
        "tool_use_id": word(event.tool_use_id.as_ref()),
        "message": message,
        "reason": word(event.decision_reason_type.as_ref()),
    })
}

/// Returns the denials in the member `permission_denials` of a `result` event; empty if it is no
/// list.
pub(crate) fn from_result(raw: &RawValue) -> Vec<Value> {
    let Ok(denials) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Vec::new();
    };
    denials.into_iter().map(shortened).collect()
}

/// Returns one denial of a result. Without the tool's input if the denial is longer than 1 KiB.
fn shortened(raw: &RawValue) -> Value {
    #[derive(serde::Deserialize, Default)]
    struct Names {
        tool_name: Option<String>,
        tool_use_id: Option<String>,
    }
    let whole = if raw.get().len() <= LONGEST_DENIAL_BYTES {
        value(raw)
    } else {
        None
    };
    whole.unwrap_or_else(|| {
        let Names {
            tool_name,
            tool_use_id,
        } = serde_json::from_str(raw.get()).unwrap_or_default();
        let [name, id] = [tool_name, tool_use_id].map(|word| word.map(|word| short(&word)));
        json!({ "tool_name": name, "tool_use_id": id })
    })
}
