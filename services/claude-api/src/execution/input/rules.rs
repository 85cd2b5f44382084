//! Which lines may reach the CLI, and how they look there: built here, nothing of a client's line passes that we do not know.

use serde_json::{Value, json};

use crate::config::ControlRequest;

/// The longest `request_id`, bytes.
const REQUEST_ID_BYTES: usize = 256;
/// Room in a line for everything that is no content, in bytes.
const LINE_MORE_BYTES: usize = 64 * 1024;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a message that the CLI would understand.
    #[error("{0}")]
    Bad(String),
    /// A control request that the operator does not allow.
    #[error("{0}")]
    NotAllowed(String),
    /// A message whose texts and pictures are too large together.
    #[error("has {bytes} bytes of text and pictures; at most {limit} are taken")]
    TooLarge {
        /// Bytes of the message's texts and pictures.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// The longest line for messages of at most `content` bytes. JSON may write a character as `\uXXXX`
/// (three bytes for one at the most, but for control characters), and a picture in base64 is a
/// third longer.
#[must_use]
pub fn line_bytes(content: usize) -> usize {
    content.saturating_mul(3).saturating_add(LINE_MORE_BYTES)
}

/// Counts the bytes of a message as a person would: its texts, and its files before base64.
fn content_bytes(content: &Value) -> usize {
    match content {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(content_bytes).sum(),
        Value::Object(members) => {
            let is_base64 = members.get("type").is_some_and(|t| t == "base64");
            let of = |(name, value): (&String, &Value)| match value {
                Value::String(data) if is_base64 && name == "data" => data.len() / 4 * 3,
                value => name.len() + content_bytes(value),
            };
            members.iter().map(of).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// How the lines of one execution are judged.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The control requests that the operator allows.
    pub allowed: Vec<ControlRequest>,
    /// Whether messages are taken verbatim, as the prompt was.
    pub verbatim: bool,
    /// The conversation.
    pub conversation: String,
    /// The most bytes of one message's content (`promptBytes`).
    pub content_bytes: usize,
}

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
        }
    }

    /// The line as the CLI gets it, with its newline.
    pub(super) fn judge(&self, line: &[u8]) -> Result<Vec<u8>, Fault> {
        let value: Value = match protocol::json::from_slice(line) {
            Ok(value) => value,
            Err(error) => return bad(format!("is no JSON: {error}")),
        };
        let message = match value.get("type").and_then(Value::as_str) {
            Some("user") => self.user(value)?,
            Some("control_request") => self.control(value)?,
            _ => {
                return bad(
                    "is neither a `user` message nor a `control_request`; `type` says which",
                );
            }
        };
        let mut line = protocol::json::to_vec(&message)
            .map_err(|error| Fault::Bad(format!("cannot be passed on: {error}")))?;
        line.push(b'\n');
        Ok(line)
    }

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
                let says_nothing =
                    |b: &Value| b["type"] == "text" && b["text"].as_str().is_none_or(blank);
                if blocks.iter().all(says_nothing) {
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
        if self.verbatim {
            line["client_composed"] = json!(true);
        }
        Ok(line)
    }

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
            return Err(Fault::NotAllowed(format!(
                "the control request {subtype:?} is not allowed here; the operator allows: {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            )));
        }
        Ok(json!({ "type": "control_request", "request_id": id, "request": request }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(line: &str) -> Result<Value, Fault> {
        Rules::for_tests().judge(line.as_bytes()).map(|out| {
            assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
            serde_json::from_slice(&out).unwrap()
        })
    }

    #[test]
    fn messages_pass_and_lose_what_we_do_not_know() {
        let message = judged(
            r#"{"type":"user","message":{"role":"user","content":"/cost\n\u0041","x":1},"isSynthetic":true,"session_id":"other"}"#,
        );
        assert_eq!(
            message.unwrap(),
            json!({"type": "user", "message": {"role": "user", "content": "/cost\nA"}, "parent_tool_use_id": null,
                   "session_id": "c", "client_composed": true})
        );
        let blocks =
            r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"x"}]}}"#;
        assert_eq!(
            judged(blocks).unwrap()["message"]["content"][0]["text"],
            "x"
        );
    }

    #[test]
    fn only_allowed_control_requests_pass() {
        let line = r#"{"type":"control_request","request_id":"r","request":{"subtype":"interrupt"},"more":1}"#;
        assert_eq!(
            judged(line).unwrap(),
            json!({"type": "control_request", "request_id": "r", "request": {"subtype": "interrupt"}})
        );
        let line = r#"{"type":"control_request","request_id":"r","request":{"subtype":"set_permission_mode","mode":"bypassPermissions"}}"#;
        assert!(matches!(judged(line), Err(Fault::NotAllowed(_))));
    }

    /// Field case C11.
    #[test]
    fn a_message_is_measured_by_its_texts_and_the_bytes_of_its_pictures() {
        let picture = |bytes: usize| {
            let data = "QUJD".repeat(bytes / 3);
            let source = json!({"type": "base64", "media_type": "image/png", "data": data});
            let content = json!([{"type": "image", "source": source}]);
            json!({"type": "user", "message": {"role": "user", "content": content}}).to_string()
        };
        assert!(judged(&picture((1 << 20) - 1024)).is_ok());
        let over = judged(&picture((1 << 20) + 1024));
        assert!(
            matches!(over, Err(Fault::TooLarge { limit, .. }) if limit == 1 << 20),
            "{over:?}"
        );
        let text = |text: &str| {
            let line = r#"{"type":"user","message":{"role":"user","content":"TEXT"}}"#;
            line.replace("TEXT", text)
        };
        assert!(judged(&text(&"\\u0041".repeat(1 << 20))).is_ok());
        let over = judged(&text(&"A".repeat((1 << 20) + 1)));
        assert!(matches!(over, Err(Fault::TooLarge { .. })), "{over:?}");
    }

    #[test]
    fn all_else_is_bad() {
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
            assert!(matches!(judged(line), Err(Fault::Bad(_))), "{line}");
        }
        assert!(ControlRequest::parse("interrupt").is_ok());
        for name in ["", "Interrupt", "a b", "x\n"] {
            assert!(ControlRequest::parse(name).is_err(), "{name:?}");
        }
    }
}
