//! The check of MCP messages from clients, over HTTP and stdio, before the MCP library (rmcp)
//! parses them.
//!
//! The library would use the last of two members with the same name, and would ignore or misreport
//! messages that it cannot parse. The function `read` therefore runs first, and refuses the same
//! JSON that the WebSocket refuses.

use std::fmt;

use rmcp::ErrorData;
use rmcp::model::{ErrorCode, RequestId, ServerJsonRpcMessage};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The refusal of a malformed message from an MCP client, with the JSON-RPC error to answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    code: ErrorCode,
    id: Option<RequestId>,
    message: String,
}

impl Malformed {
    /// Creates the refusal of a text that is not valid JSON (-32700, parse error). The error has no
    /// id, because none could be read.
    fn json(error: impl fmt::Display) -> Self {
        Self {
            code: ErrorCode::PARSE_ERROR,
            id: None,
            message: format!("the message is not JSON: {error}"),
        }
    }

    /// Creates the refusal of JSON that is not a JSON-RPC request, notification or response
    /// (-32600, invalid request). `id` is the id of the message, or `None` if it could not be read.
    pub(crate) fn request(id: Option<RequestId>, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::INVALID_REQUEST,
            id,
            message: message.into(),
        }
    }

    /// Creates the refusal of a message that is not a JSON-RPC request, notification or response,
    /// so that the MCP library cannot parse it (-32600, invalid request).
    pub(crate) fn shape(envelope: Envelope) -> Self {
        let message = "the message is not a JSON-RPC 2.0 request, notification or response: a \
                       request has the members jsonrpc (\"2.0\"), id (a string or an integer), \
                       method and params";
        Self::request(envelope.id, message)
    }

    /// Creates the refusal of a request with wrong parameters (-32602, invalid params). The message
    /// says which ones.
    pub(crate) fn params(envelope: Envelope, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::INVALID_PARAMS,
            ..Self::request(envelope.id, message)
        }
    }

    /// Returns the JSON-RPC error with which to answer the client. It has no id if the id of the
    /// message could not be read (MCP 2025-11-25).
    #[must_use]
    pub fn response(&self) -> ServerJsonRpcMessage {
        let error = ErrorData::new(self.code, self.message.clone(), None);
        ServerJsonRpcMessage::error(error, self.id.clone())
    }
}

/// The id and method of an MCP message, which are read before the MCP library parses the whole
/// message.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    /// The id of the request. `None` if it is absent or is not a string or integer.
    pub(crate) id: Option<RequestId>,
    /// The name of the method. `None` if it is absent or is not a string.
    pub(crate) method: Option<String>,
    /// Whether the message has a member `id`, even one of a wrong type. A message without it is a
    /// notification.
    has_id: bool,
}

impl Envelope {
    /// Returns whether the message is a JSON-RPC notification, which gets no answer.
    pub(crate) fn is_notification(&self) -> bool {
        !self.has_id && self.method.is_some()
    }
}

/// Reads the id and method of a client's message, and checks the JSON of the whole message.
///
/// # Errors
/// The text is not a valid JSON object, or any object in it has two members with the same name.
pub(crate) fn read(json: &[u8]) -> Result<Envelope, Malformed> {
    let text = std::str::from_utf8(json).map_err(Malformed::json)?;
    let members = serde_json::from_str::<Members>(text);
    let repeated = || protocol::json::refuse_repeated_members(text).map_err(|e| e.to_string());
    let Members { id, method, .. } = match members {
        Ok(members) => members,
        Err(error) if error.is_data() => {
            let message = repeated().err();
            let message = message.unwrap_or_else(|| "the message is not a JSON object".to_owned());
            return Err(Malformed::request(None, message));
        }
        Err(error) => return Err(Malformed::json(error)),
    };
    let envelope = Envelope {
        has_id: id.is_some(),
        id: id.and_then(|id| serde_json::from_value(id).ok()),
        method: method.and_then(|method| Some(method.as_str()?.to_owned())),
    };
    match repeated() {
        Ok(()) => Ok(envelope),
        Err(message) => Err(Malformed::request(envelope.id, message)),
    }
}

/// The members of a JSON-RPC message before they are checked. Each may have any JSON type, so that
/// a wrong type can be reported.
#[derive(Deserialize)]
struct Members {
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: Option<Value>,
    #[serde(default, rename = "params")]
    _params: Checked,
}

/// Deserializes a member that is present. A null becomes `Some` of a null value, and only an absent
/// member is `None`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A JSON value whose syntax is checked and which is then dropped. Unlike serde's `IgnoredAny` it
/// decodes strings and numbers, so that a lone surrogate is an error.
#[derive(Default)]
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str) -> (i32, Option<RequestId>, String) {
        let Malformed { code, id, message } = read(text.as_bytes()).unwrap_err();
        (code.0, id, message)
    }

    #[test]
    fn a_refusal_has_the_id_unless_the_id_is_ambiguous() {
        let (code, id, message) = refused(r#"{"id":7,"method":"x","params":{"a":1,"a":2}}"#);
        assert_eq!((code, id), (-32600, Some(RequestId::Number(7))));
        assert!(message.contains("given twice"), "{message}");
        let (code, id, message) = refused(r#"{"id":7,"id":8,"method":"x"}"#);
        assert_eq!((code, id), (-32600, None));
        assert!(message.contains("given twice"), "{message}");
        for text in ["{", "", "{} x", r#"{"id":7,"params":["\ud83d"]}"#] {
            let (code, id, _) = refused(text);
            assert_eq!((code, id), (-32700, None), "{text}");
        }
        assert_eq!(refused("7").0, -32600);
    }

    #[test]
    fn only_a_message_without_an_id_is_a_notification() {
        for (text, is_notification) in [
            (r#"{"method":"x"}"#, true),
            (r#"{"method":"x","id":7}"#, false),
            (r#"{"method":"x","id":null}"#, false),
            (r#"{"method":"x","id":1.5}"#, false),
            (r#"{"result":{}}"#, false),
        ] {
            let envelope = read(text.as_bytes()).unwrap();
            assert_eq!(envelope.is_notification(), is_notification, "{text}");
        }
    }
}
