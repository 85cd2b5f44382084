//! The rules of the status object (docs/protocol.md, "Status object") for every field.

use serde_json::Value;

/// The terminal states.
pub const TERMINAL: [&str; 5] = [
    "completed",
    "failed",
    "cancelled",
    "timed_out",
    "interrupted",
];
const LIVE: [&str; 3] = ["queued", "running", "paused"];
/// The maximum length of a status.
const STATUS_BYTES: usize = 64 * 1024;
/// The allowance for a statusUpdate's other fields.
const ENVELOPE_BYTES: usize = 1024;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Count,
    Number,
    Flag,
    List,
    Object,
    Any,
}

/// The fields: name, kind, and whether the value may be null.
const FIELDS: [(&str, Kind, bool); 35] = [
    ("executionId", Kind::Text, false),
    ("state", Kind::Text, false),
    ("reason", Kind::Text, true),
    ("error", Kind::Object, true),
    ("exitCode", Kind::Number, true),
    ("outputBytes", Kind::Count, false),
    ("keptFrom", Kind::Count, false),
    ("crc32", Kind::Text, true),
    ("sha256", Kind::Text, true),
    ("createdAt", Kind::Text, false),
    ("startedAt", Kind::Text, true),
    ("endedAt", Kind::Text, true),
    ("durationMs", Kind::Count, true),
    ("queuePosition", Kind::Count, true),
    ("activity", Kind::Text, true),
    ("stalled", Kind::Flag, false),
    ("principal", Kind::Text, true),
    ("workspace", Kind::Text, false),
    ("lane", Kind::Text, true),
    ("conversation", Kind::Text, true),
    ("continues", Kind::Text, true),
    ("continuedBy", Kind::Text, true),
    ("notBefore", Kind::Text, true),
    ("model", Kind::Text, true),
    ("usage", Kind::Any, true),
    ("costUsd", Kind::Number, true),
    ("structuredOutput", Kind::Any, true),
    ("permissionDenials", Kind::List, false),
    ("questions", Kind::List, false),
    ("questionsOpen", Kind::Count, false),
    ("restarts", Kind::Count, false),
    ("noiseLines", Kind::Count, false),
    ("warnings", Kind::List, false),
    ("stderrTail", Kind::Text, true),
    ("webhook", Kind::Object, true),
];

/// Returns whether a state is terminal.
#[must_use]
pub fn is_terminal(state: &str) -> bool {
    TERMINAL.contains(&state)
}

/// Checks a status object on its own.
///
/// # Errors
/// The first rule that the status breaks.
pub fn check(status: &Value) -> Result<(), String> {
    let Some(object) = status.as_object() else {
        return Err(format!("a status must be an object: {status}"));
    };
    // Only the bridge creates a `lost` status, and it does not know these fields.
    let lost = status["reason"] == "lost";
    for (name, kind, nullable) in FIELDS {
        let Some(value) = object.get(name) else {
            return Err(format!("the status lacks `{name}`"));
        };
        let good = match kind {
            Kind::Text => value.is_string(),
            Kind::Count => value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Flag => value.is_boolean(),
            Kind::List => value.is_array(),
            Kind::Object => value.is_object(),
            Kind::Any => true,
        };
        if !(good || value.is_null() && (nullable || lost)) {
            return Err(format!("the status has `{name}`: {value}"));
        }
    }
    if !object.get("metadata").is_some_and(Value::is_object) {
        return Err("the status lacks `metadata`, or it is no object".into());
    }
    let state = status["state"].as_str().unwrap_or_default();
    if is_terminal(state) {
        terminal(status, lost)?;
    } else if !LIVE.contains(&state) {
        return Err(format!("unknown state `{state}`"));
    }
    let bytes = status.to_string().len();
    if bytes > STATUS_BYTES + ENVELOPE_BYTES {
        return Err(format!("a status of {bytes} bytes"));
    }
    Ok(())
}

fn terminal(status: &Value, lost: bool) -> Result<(), String> {
    let hex = |value: &Value, digits: usize| {
        value.as_str().is_some_and(|text| {
            text.len() == digits
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let (crc32, sha256) = (&status["crc32"], &status["sha256"]);
    if !(hex(crc32, 8) || lost && crc32.is_null()) {
        return Err(format!(
            "a terminal status needs crc32 as 8 lower-case hex digits, not {crc32}"
        ));
    }
    if !(sha256.is_null() || hex(sha256, 64)) {
        return Err(format!("sha256: {sha256}"));
    }
    if !lost && status["endedAt"].is_null() {
        return Err("a terminal status needs endedAt".into());
    }
    let state = status["state"].as_str().unwrap_or_default();
    if ["failed", "timed_out"].contains(&state) && status["reason"].is_null() {
        return Err(format!("{state} without a reason"));
    }
    if state == "completed" && !(status["exitCode"] == 0 || status["exitCode"].is_null()) {
        return Err(format!("completed with exitCode {}", status["exitCode"]));
    }
    if state == "interrupted" && !status["exitCode"].is_null() {
        return Err("interrupted with an exitCode".into());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn example(id: &str, state: &str) -> Value {
        let end = is_terminal(state).then_some("2026-01-01T00:00:01Z");
        let reason = match state {
            "failed" => Some("nonzero_exit"),
            "timed_out" => Some("deadline"),
            _ => None,
        };
        json!({
            "executionId": id, "state": state, "reason": reason, "error": null, "exitCode": null,
            "outputBytes": 0,
            "keptFrom": 0, "crc32": end.map(|_| "00000000"), "sha256": null,
            "createdAt": "2026-01-01T00:00:00Z",
            "startedAt": null, "endedAt": end, "durationMs": null, "queuePosition": null,
            "activity": null,
            "stalled": false, "principal": null, "workspace": "default", "lane": null,
            "conversation": null,
            "continues": null,
            "continuedBy": null, "notBefore": null, "model": null, "usage": null, "costUsd": null,
            "structuredOutput": null,
            "permissionDenials": [], "questions": [], "questionsOpen": 0, "restarts": 0,
            "noiseLines": 0, "warnings": [],
            "stderrTail": "",
            "metadata": {},
            "webhook": null,
        })
    }

    #[test]
    fn good_ones_pass() {
        for state in LIVE.into_iter().chain(TERMINAL) {
            assert_eq!(check(&example("x", state)), Ok(()), "{state}");
        }
    }

    #[test]
    fn each_field_is_missed() {
        let whole = example("x", "running");
        for name in whole.as_object().expect("an object").keys() {
            let mut status = whole.clone();
            status.as_object_mut().expect("an object").remove(name);
            assert!(check(&status).is_err(), "{name}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let broken = |state: &str, name: &str, value: Value| {
            let mut status = example("x", state);
            status[name] = value;
            check(&status)
        };
        assert!(broken("running", "state", json!("RUNNING")).is_err());
        assert!(broken("completed", "crc32", json!(null)).is_err());
        assert!(broken("completed", "crc32", json!("ABCDEF01")).is_err());
        assert!(broken("completed", "endedAt", json!(null)).is_err());
        assert!(broken("completed", "exitCode", json!(1)).is_err());
        assert!(broken("interrupted", "exitCode", json!(0)).is_err());
        assert!(broken("failed", "reason", json!(null)).is_err());
        assert!(broken("running", "outputBytes", json!(-1)).is_err());
        assert!(broken("running", "stderrTail", json!("x".repeat(70_000))).is_err());
    }
}
