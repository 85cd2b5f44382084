//! The rules for lines that clients send to a running CLI. The line for the CLI is built from the
//! known fields of the client's line, and all other fields are dropped.

use std::sync::Arc;

use protocol::ProblemType;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::ControlRequest;
use crate::execution::client_control::{
    CheckedResponse, ClientControl, ControlFault, KNOWN_REQUESTS,
};

/// The maximum length in bytes of the `request_id` of a control request.
const REQUEST_ID_BYTES: usize = 256;
/// The bytes that a line may have in addition to the content of its message.
const OTHER_FIELDS_BYTES: usize = 64 * 1024;

/// The reason why a line from a client is not sent to the CLI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line is not valid JSON, or not a message that the CLI would understand. The text
    /// completes a sentence about the line.
    #[error("{0}")]
    Bad(String),
    /// The line asks for more than the operator allows, for example by a control request. The type
    /// of the problem says in which way.
    #[error("{0}")]
    NotAllowed(String, ProblemType),
    /// The texts and pictures of the message are larger than the limit.
    #[error("has {bytes} bytes of text and pictures; at most {limit} are allowed")]
    TooLarge {
        /// The size of the message's texts and pictures in bytes, before base64.
        bytes: usize,
        /// The maximum size in bytes (the limit `promptBytes`).
        limit: usize,
    },
}

/// Returns the maximum length in bytes of a line whose message has at most `content` bytes. JSON
/// may write a character as `\uXXXX`, at most three bytes for each of its bytes (control characters
/// aside). Base64 makes a picture a third longer.
#[must_use]
pub fn line_bytes(content: usize) -> usize {
    content.saturating_mul(3).saturating_add(OTHER_FIELDS_BYTES)
}

/// Counts the bytes of a message's content: its texts, and its files as they were before base64.
fn content_bytes(content: &Value) -> usize {
    match content {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(content_bytes).sum(),
        Value::Object(members) => {
            let is_base64 = members.get("type").is_some_and(|t| t == "base64");
            let member_bytes = |(name, value): (&String, &Value)| match value {
                Value::String(data) if is_base64 && name == "data" => data.len() / 4 * 3,
                value => name.len() + content_bytes(value),
            };
            members.iter().map(member_bytes).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// The rules that each line of a client's input for one execution must obey.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The kinds of control requests, such as `interrupt`, that the operator allows. Empty for
    /// none.
    pub allowed: Vec<ControlRequest>,
    /// Whether the CLI takes user messages verbatim, without interpreting commands in them. The
    /// same as for the prompt.
    pub verbatim: bool,
    /// The id of the conversation, which each message to the CLI must have.
    pub conversation: String,
    /// The maximum size in bytes of one message's content (the limit `promptBytes`).
    pub content_bytes: usize,
    /// The control protocol with the client. `None` unless the execution has
    /// `"permissionPrompts": "client"`.
    pub(crate) client: Option<Arc<ClientControl>>,
}

/// A line of a client that obeys the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckedLine {
    /// The line for the CLI, with its newline.
    pub(super) bytes: Vec<u8>,
    /// Whether it is a message, which begins a turn. A control request begins none.
    pub(super) is_message: bool,
    /// The response to a request of the CLI, if the line is one.
    pub(super) response: Option<CheckedResponse>,
}

impl From<ControlFault> for Fault {
    fn from(ControlFault { kind, detail }: ControlFault) -> Self {
        match kind {
            ProblemType::InvalidBody => Self::Bad(detail),
            kind => Self::NotAllowed(detail, kind),
        }
    }
}

/// Returns the fault of a malformed line. `what` completes a sentence about the line.
fn bad<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Bad(what.into()))
}

impl Rules {
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self {
            allowed: ["interrupt", "end_session"]
                .map(|name| ControlRequest::parse(name).expect("a subtype"))
                .into(),
            verbatim: true,
            conversation: "c".to_owned(),
            content_bytes: 1 << 20,
            client: None,
        }
    }

    /// Checks one line of a client and returns the line for the CLI. Only user messages and allowed
    /// control requests pass. Malformed JSON, other kinds of messages and content that is too large
    /// give a fault.
    pub(super) fn check(&self, line: &[u8]) -> Result<CheckedLine, Fault> {
        let value: Value = match protocol::json::from_slice(line) {
            Ok(value) => value,
            Err(error) => return bad(format!("is not JSON: {error}")),
        };
        // A copy of this word, because a message with pictures is too large to be copied.
        let kind = value.get("type").and_then(Value::as_str).map(str::to_owned);
        let is_message = kind.as_deref() == Some("user");
        let (message, response) = match (kind.as_deref(), &self.client) {
            (Some("user"), _) => (Some(self.user(value)?), None),
            (Some("control_request"), _) => (Some(self.control(value)?), None),
            (Some("control_response"), Some(client)) => {
                let mut response = client.check_response(&value)?;
                (response.line.take(), Some(response))
            }
            // An SDK sends them to keep its own connection open, or to give up a request of its
            // own. The CLI does not need them.
            (Some("keep_alive" | "control_cancel_request"), Some(_)) => (None, None),
            _ => {
                return bad(
                    "is neither a `user` message nor a `control_request`; `type` says which",
                );
            }
        };
        let bytes = message.map_or_else(|| Ok(Vec::new()), |message| line_of(&message))?;
        Ok(CheckedLine {
            bytes,
            is_message,
            response,
        })
    }

    /// Records that the responses of accepted lines are on their way to the CLI.
    pub(super) fn accept(&self, responses: &[CheckedResponse]) {
        let Some(client) = &self.client else { return };
        for response in responses {
            client.accept(response);
        }
    }

    /// Checks a user message and builds the message for the CLI from its content.
    fn user(&self, mut value: Value) -> Result<Value, Fault> {
        let message = value.get_mut("message").map(Value::take);
        let Some(Value::Object(mut message)) = message else {
            return bad("a `user` line needs `message`: {\"role\":\"user\",\"content\":...}");
        };
        if message.get("role").and_then(Value::as_str) != Some("user") {
            return bad("`message.role` must be \"user\"");
        }
        let content = message.remove("content").unwrap_or_default();
        let blank = |text: &str| text.chars().all(char::is_whitespace);
        match &content {
            Value::String(text) if blank(text) => return bad("`message.content` is blank"),
            Value::String(_) => {}
            Value::Array(blocks) => {
                let typed = |b: &Value| b.get("type").is_some_and(Value::is_string);
                if blocks.is_empty() || !blocks.iter().all(typed) {
                    return bad("`message.content` must have blocks, each with a `type`");
                }
                let is_blank =
                    |b: &Value| b["type"] == "text" && b["text"].as_str().is_none_or(blank);
                if blocks.iter().all(is_blank) {
                    return bad("`message.content` is blank");
                }
            }
            _ => return bad("`message.content` must be a text or a list of blocks"),
        }
        let bytes = content_bytes(&content);
        if bytes > self.content_bytes {
            let limit = self.content_bytes;
            return Err(Fault::TooLarge { bytes, limit });
        }
        let mut line = json!({
            "type": "user",
            "message": { "role": "user", "content": content },
            "parent_tool_use_id": null,
            "session_id": self.conversation,
        });
        let is_client = self.client.is_some();
        let is_composed = is_client && value.get("client_composed") == Some(&Value::Bool(true));
        if self.verbatim || is_composed {
            line["client_composed"] = json!(true);
        }
        // The client names the message by it later, for example in `rewind_files`.
        let uuid = value.get("uuid").and_then(Value::as_str);
        if let Some(uuid) = uuid.and_then(|text| Uuid::try_parse(text).ok())
            && is_client
        {
            line["uuid"] = json!(uuid.to_string());
        }
        Ok(line)
    }

    /// Checks a control request against the operator's list and builds the request for the CLI.
    fn control(&self, mut value: Value) -> Result<Value, Fault> {
        let id = value.get("request_id").and_then(Value::as_str);
        let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_BYTES) else {
            return bad(format!(
                "a `control_request` needs a `request_id` of 1 to {REQUEST_ID_BYTES} bytes"
            ));
        };
        let id = id.to_owned();
        let request = value
            .get_mut("request")
            .map(Value::take)
            .unwrap_or_default();
        let Some(subtype) = request.get("subtype").and_then(Value::as_str) else {
            return bad("a `control_request` needs `request.subtype`");
        };
        if !self
            .allowed
            .iter()
            .any(|request| request.as_str() == subtype)
        {
            let names: Vec<_> = self.allowed.iter().map(ControlRequest::as_str).collect();
            let text = format!(
                "the control request {subtype:?} is not allowed here; the operator allows: {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            );
            let kind = match self.client {
                Some(_) => ProblemType::ControlRequestNotAllowed,
                None => ProblemType::NotAllowed,
            };
            return Err(Fault::NotAllowed(text, kind));
        }
        let request = match &self.client {
            Some(client) if KNOWN_REQUESTS.contains(&subtype) => {
                client.check_request(subtype, &request)?
            }
            _ => request,
        };
        Ok(json!({ "type": "control_request", "request_id": id, "request": request }))
    }
}

/// Returns a message as a line for the CLI.
fn line_of(message: &Value) -> Result<Vec<u8>, Fault> {
    let mut bytes = protocol::json::to_vec(message)
        .map_err(|error| Fault::Bad(format!("cannot be passed on: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<Value, Fault> {
        Rules::for_tests().check(line.as_bytes()).map(|checked| {
            let out = checked.bytes;
            assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
            serde_json::from_slice(&out).unwrap()
        })
    }

    #[test]
    fn a_message_passes_without_its_unknown_fields() {
        let message = checked(concat!(
            r#"{"type":"user","message":{"role":"user","content":"/cost\n\u0041","x":1},"#,
            r#""isSynthetic":true,"session_id":"other"}"#
        ));
        assert_eq!(
            message.unwrap(),
            json!({
                "type": "user",
                "message": {"role": "user", "content": "/cost\nA"},
                "parent_tool_use_id": null,
                "session_id": "c",
                "client_composed": true
            })
        );
        let blocks =
            r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"x"}]}}"#;
        assert_eq!(
            checked(blocks).unwrap()["message"]["content"][0]["text"],
            "x"
        );
    }

    #[test]
    fn only_allowed_control_requests_pass() {
        let line = concat!(
            r#"{"type":"control_request","request_id":"r","#,
            r#""request":{"subtype":"interrupt"},"more":1}"#
        );
        assert_eq!(
            checked(line).unwrap(),
            json!({
                "type": "control_request",
                "request_id": "r",
                "request": {"subtype": "interrupt"}
            })
        );
        let line = concat!(
            r#"{"type":"control_request","request_id":"r","#,
            r#""request":{"subtype":"set_permission_mode","mode":"bypassPermissions"}}"#
        );
        assert!(matches!(checked(line), Err(Fault::NotAllowed(..))));
    }

    #[test]
    fn the_size_of_a_message_is_that_of_its_texts_and_decoded_pictures() {
        let picture = |bytes: usize| {
            let data = "QUJD".repeat(bytes / 3);
            let source = json!({"type": "base64", "media_type": "image/png", "data": data});
            let content = json!([{"type": "image", "source": source}]);
            json!({"type": "user", "message": {"role": "user", "content": content}}).to_string()
        };
        assert!(checked(&picture((1 << 20) - 1024)).is_ok());
        let over = checked(&picture((1 << 20) + 1024));
        assert!(
            matches!(over, Err(Fault::TooLarge { limit, .. }) if limit == 1 << 20),
            "{over:?}"
        );
        let text = |text: &str| {
            let line = r#"{"type":"user","message":{"role":"user","content":"TEXT"}}"#;
            line.replace("TEXT", text)
        };
        assert!(checked(&text(&"\\u0041".repeat(1 << 20))).is_ok());
        let over = checked(&text(&"A".repeat((1 << 20) + 1)));
        assert!(matches!(over, Err(Fault::TooLarge { .. })), "{over:?}");
    }

    #[test]
    fn any_other_line_is_bad() {
        for line in [
            "x",
            "[]",
            "7",
            r#"{"type":"assistant","message":{"role":"assistant","content":"x"}}"#,
            r#"{"type":"control_response"}"#,
            r#"{"type":"user"}"#,
            r#"{"type":"user","message":{"role":"assistant","content":"x"}}"#,
            r#"{"type":"user","message":{"role":"user","content":" \u00a0"}}"#,
            r#"{"type":"user","message":{"role":"user","content":[]}}"#,
            r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":" "}]}}"#,
            r#"{"type":"user","message":{"role":"user","content":["x"]}}"#,
            r#"{"type":"user","message":{"role":"user","content":7}}"#,
            r#"{"type":"control_request","request":{"subtype":"interrupt"}}"#,
            r#"{"type":"control_request","request_id":"r"}"#,
        ] {
            assert!(matches!(checked(line), Err(Fault::Bad(_))), "{line}");
        }
        assert!(ControlRequest::parse("interrupt").is_ok());
        for name in ["", "Interrupt", "a b", "x\n"] {
            assert!(ControlRequest::parse(name).is_err(), "{name:?}");
        }
    }
}
