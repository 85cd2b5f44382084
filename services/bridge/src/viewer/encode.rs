//! Server notifications as text. A status goes from its own JSON into the message without a tree
//! between.

use jiff::Timestamp;
use protocol::rpc::{method, notification};
use protocol::{ExecutionId, Status};
use serde_json::{Value, json};

/// Milliseconds since it was created, until it ended.
#[must_use]
pub fn elapsed_ms(status: &Status, now: Timestamp) -> u64 {
    let until = status.ended_at.unwrap_or(now);
    let elapsed = until.duration_since(status.created_at).as_millis();
    u64::try_from(elapsed).unwrap_or(0)
}

/// A `statusUpdate` with this word as `status`. `elapsed`: in milliseconds; `limit`: bytes of the
/// status object.
#[must_use]
pub fn status_update(
    word: &str,
    status: &Status,
    unreachable: bool,
    elapsed: u64,
    limit: usize,
) -> String {
    let upstream = if unreachable {
        r#""upstream":"unreachable","#
    } else {
        ""
    };
    let object = status.to_json(limit);
    let object = String::from_utf8_lossy(&object);
    let fields = object.strip_prefix('{').unwrap_or("}");
    let name = method::STATUS_UPDATE;
    format!(
        r#"{{"jsonrpc":"2.0","method":"{name}","params":{{"status":"{word}","elapsedMs":{elapsed},{upstream}{fields}}}"#
    )
}

/// An `output`.
#[must_use]
pub fn output(id: ExecutionId, offset: u64, text: &str) -> String {
    let content = Value::from(text);
    format!(
        r#"{{"jsonrpc":"2.0","method":"output","params":{{"executionId":"{id}","type":"stdout","offset":{offset},"content":{content}}}}}"#
    )
}

/// A `gap`.
#[must_use]
pub fn gap(id: ExecutionId, from: u64, to: u64) -> String {
    let params = json!({ "executionId": id, "from": from, "to": to });
    notification(method::GAP, &params).to_string()
}

/// A `notice`.
#[must_use]
pub fn notice(id: Option<ExecutionId>, code: &str, message: &str, data: &Value) -> String {
    let mut params = json!({ "code": code, "message": message, "data": data });
    if let Some(id) = id {
        params["executionId"] = id.to_string().into();
    }
    notification(method::NOTICE, &params).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_update_is_the_status_and_more() {
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:00:01.5Z".parse().unwrap();
        let status = Status::queued(ExecutionId::random(), created, "default".into());
        for unreachable in [false, true] {
            let elapsed = elapsed_ms(&status, now);
            let text = status_update("QUEUED", &status, unreachable, elapsed, 64 * 1024);
            let message: Value = serde_json::from_str(&text).unwrap();
            let mut params = message["params"].clone();
            assert_eq!(params["status"], "QUEUED");
            assert_eq!(params["elapsedMs"], 1500);
            assert_eq!(params.get("upstream").is_some(), unreachable);
            for name in ["status", "elapsedMs", "upstream"] {
                params.as_object_mut().unwrap().remove(name);
            }
            assert_eq!(params, serde_json::to_value(&status).unwrap());
            assert!(message.get("id").is_none());
        }
    }

    #[test]
    fn the_worst_output_fits_a_message() {
        let worst = "\u{1}".repeat(protocol::OUTPUT_MESSAGE_BYTES);
        let text = output(ExecutionId::random(), u64::MAX, &worst);
        assert!(
            text.len() <= protocol::SERVER_MESSAGE_BYTES,
            "{}",
            text.len()
        );
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["params"]["content"], worst);
    }
}
