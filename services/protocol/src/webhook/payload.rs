//! The JSON body of a webhook request.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::WebhookEvent;
use crate::{ExecutionId, Reason, State, Status};

/// The JSON body of a webhook request (docs/protocol.md, "Webhooks").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookPayload {
    /// The type of the event ([`WebhookEvent::payload_type`]). A receiver ignores types that it
    /// does not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// The time of the event. Every try to deliver it has the same.
    pub timestamp: Timestamp,
    /// The execution at that time.
    pub data: WebhookData,
}

/// The execution in a webhook: the members of the status object that are no text of the model, of a
/// tool or of another principal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "docs/protocol.md, \"Status object\", describes each field"
)]
pub struct WebhookData {
    pub execution_id: ExecutionId,
    pub state: State,
    pub reason: Option<Reason>,
    /// The member `error.code` of the status. The message is left out, because it can quote the
    /// CLI.
    pub error_code: Option<String>,
    pub exit_code: Option<i32>,
    pub output_bytes: u64,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub cost_usd: Option<f64>,
    /// Absent from the payloads of earlier versions.
    #[serde(default)]
    pub questions_open: u64,
    pub workspace: String,
    pub lane: Option<String>,
    pub conversation: Option<String>,
    pub continues: Option<ExecutionId>,
    pub continued_by: Option<ExecutionId>,
    pub metadata: BTreeMap<String, String>,
}

impl WebhookPayload {
    /// Creates the payload of an event that happens at the time `at` to an execution with this
    /// status.
    #[must_use]
    pub fn new(event: WebhookEvent, at: Timestamp, status: &Status) -> Self {
        Self {
            kind: event.payload_type().to_owned(),
            timestamp: at,
            data: WebhookData::of(status),
        }
    }
}

impl WebhookData {
    /// Takes from a status what a webhook may report.
    fn of(status: &Status) -> Self {
        // All fields are named, so that a new one is decided about.
        let Status {
            execution_id,
            state,
            reason,
            error,
            exit_code,
            output_bytes,
            kept_from: _,
            crc32: _,
            sha256: _,
            created_at,
            started_at,
            ended_at,
            duration_ms,
            queue_position: _,
            activity: _,
            stalled: _,
            principal: _,
            workspace,
            lane,
            conversation,
            continues,
            continued_by,
            not_before: _,
            model: _,
            usage: _,
            cost_usd,
            permission_denials: _,
            structured_output: _,
            restarts: _,
            noise_lines: _,
            warnings: _,
            stderr_tail: _,
            metadata,
            webhook: _,
            questions: _,
            questions_open,
        } = status;
        Self {
            execution_id: *execution_id,
            state: *state,
            reason: *reason,
            error_code: error.as_ref().map(|error| error.code.clone()),
            exit_code: *exit_code,
            output_bytes: *output_bytes,
            created_at: *created_at,
            started_at: *started_at,
            ended_at: *ended_at,
            duration_ms: *duration_ms,
            cost_usd: *cost_usd,
            questions_open: *questions_open,
            workspace: workspace.clone(),
            lane: lane.clone(),
            conversation: conversation.clone(),
            continues: *continues,
            continued_by: *continued_by,
            metadata: metadata.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ErrorInfo;

    #[test]
    fn a_payload_has_no_text_of_the_execution_and_no_principal() {
        let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
        status.state = State::Failed;
        status.error = Some(ErrorInfo {
            code: "nonzero_exit".into(),
            message: "SECRET".into(),
        });
        status.activity = Some("SECRET".into());
        status.principal = Some("SECRET".into());
        status.stderr_tail = "SECRET".into();
        status.permission_denials = vec![json!({ "tool_input": "SECRET" })];
        status.usage = Some(json!("SECRET"));
        status.warn(Timestamp::UNIX_EPOCH, "x", "SECRET".into(), json!("SECRET"));
        status.metadata.insert("job".into(), "7".into());
        let at = Timestamp::from_second(1).unwrap();
        let payload = WebhookPayload::new(WebhookEvent::Ended, at, &status);
        let json = serde_json::to_value(&payload).unwrap();
        assert!(!json.to_string().contains("SECRET"), "{json}");
        assert_eq!(json["type"], "execution.ended");
        assert_eq!(json["timestamp"], "1970-01-01T00:00:01Z");
        assert_eq!(json["data"]["executionId"], status.execution_id.to_string());
        assert_eq!(json["data"]["state"], "failed");
        assert_eq!(json["data"]["errorCode"], "nonzero_exit");
        assert_eq!(json["data"]["metadata"]["job"], "7");
        assert_eq!(
            serde_json::from_value::<WebhookPayload>(json).unwrap(),
            payload
        );
    }
}
