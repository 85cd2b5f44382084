//! Tools that were denied, small enough for a status object.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::event::{Denied, short, text, word};
use crate::sanitise::value;

/// A denial's JSON longer than this goes without the tool's input, which may be a whole file (1
/// KiB).
const LONGEST_DENIAL_BYTES: usize = 1 << 10;

/// The CLI's explanation goes on for the model's benefit; the first sentence is for people (chars).
const LONGEST_MESSAGE_CHARS: usize = 300;

/// From a `system/permission_denied` event.
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

/// From a result's `permission_denials`.
pub(crate) fn from_result(raw: &RawValue) -> Vec<Value> {
    let Ok(denials) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Vec::new();
    };
    denials.into_iter().map(one).collect()
}

fn one(raw: &RawValue) -> Value {
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
