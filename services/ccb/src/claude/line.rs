//! The lines of stdin: their kind, and the answer to a refused control request.

use serde::Deserialize;
use serde_json::json;

/// The kind of a line that the Agent SDK or another program wrote to stdin. It decides what follows
/// if the service refuses the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LineKind {
    /// A control request, with its id. A refusal is answered with an error.
    ControlRequest(String),
    /// The response to a request of the CLI, with its id. After a refusal, the CLI gets an error in
    /// its place, because it waits.
    ControlResponse(String),
    /// A control line that needs no answer: the withdrawal of a request, or a line without an id.
    Unanswered,
    /// A message for the model, or anything else.
    Message,
}

/// The members of a line that decide its kind.
#[derive(Deserialize)]
struct Members {
    #[serde(rename = "type")]
    kind: Option<String>,
    request_id: Option<String>,
    response: Option<ResponseMembers>,
}

/// The member of a response that names its request.
#[derive(Deserialize)]
struct ResponseMembers {
    request_id: Option<String>,
}

impl LineKind {
    /// Returns the kind of a line. Text that is not a JSON object is a message, which the service
    /// refuses.
    pub(super) fn of(line: &str) -> Self {
        let Ok(Members {
            kind,
            request_id,
            response,
        }) = serde_json::from_str(line)
        else {
            return Self::Message;
        };
        let answered = response.and_then(|response| response.request_id);
        match (kind.as_deref(), request_id, answered) {
            (Some("control_request"), Some(id), _) => Self::ControlRequest(id),
            (Some("control_response"), _, Some(id)) => Self::ControlResponse(id),
            (Some("control_request" | "control_response" | "control_cancel_request"), ..) => {
                Self::Unanswered
            }
            _ => Self::Message,
        }
    }
}

/// Returns the line that answers a control request with an error: to the program that started
/// `ccb-claude`, in the form of the Claude CLI, or to the CLI in place of a refused response.
pub(super) fn refusal(request_id: &str, error: &str) -> String {
    let line = json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request_id, "error": error},
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_kind() {
        let request = LineKind::ControlRequest("r1".into());
        for (line, kind) in [
            (
                r#"{"request":{"type":"user"},"request_id":"r1","type":"control_request"}"#,
                request,
            ),
            (r#"{"type":"control_request"}"#, LineKind::Unanswered),
            (
                r#"{"type":"control_response","response":{}}"#,
                LineKind::Unanswered,
            ),
            (
                r#"{"type":"control_response","response":{"request_id":"x"}}"#,
                LineKind::ControlResponse("x".into()),
            ),
            (
                r#"{"type":"control_cancel_request","request_id":"x"}"#,
                LineKind::Unanswered,
            ),
            (r#"{"type":"user","message":{}}"#, LineKind::Message),
            (r#"{"type":7}"#, LineKind::Message),
            ("[1]", LineKind::Message),
            ("no JSON", LineKind::Message),
        ] {
            assert_eq!(LineKind::of(line), kind, "{line}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_of_json() {
        let line = refusal("r\"1", "why\nnot");
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["response"]["request_id"], "r\"1");
        assert_eq!(value["response"]["error"], "why\nnot");
    }
}
