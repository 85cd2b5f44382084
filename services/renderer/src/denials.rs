//! Denials, which are tool calls that the CLI's permission rules refused. They are shortened for
//! the status of an execution.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::event::{Denied, short, text, word};
use crate::sanitise::value;

/// The longest denial, in bytes of JSON, that keeps the input of the tool (1 KiB). The input may be
/// a whole file.
const LONGEST_DENIAL_BYTES: usize = 1 << 10;

/// The most characters that are kept of the message in a denial. Its first sentence is for people;
/// the rest is for the model.
const LONGEST_MESSAGE_CHARS: usize = 300;

/// Returns the denial in a `system/permission_denied` event as a JSON object. Members that the
/// event lacks are null.
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

/// Returns the denials in the member `permission_denials` of a `result` event. Returns an empty
/// list if the member is not a list.
pub(crate) fn from_result(raw: &RawValue) -> Vec<Value> {
    let Ok(denials) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Vec::new();
    };
    denials.into_iter().map(shortened).collect()
}

/// Returns one denial of a `result` event. If it is longer than 1 KiB or cannot be read, only the
/// name and the id of the tool call remain.
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
