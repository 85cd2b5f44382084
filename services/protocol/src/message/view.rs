//! Notifications of a view: output, gaps and notices.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connected::Connected;
use super::notification::Notification;
use crate::ExecutionId;
use crate::rpc::method;

/// The parameters of `output`: docs/protocol.md, "Notifications".
///
/// `C` is the content: a `String`, or a `&str` for a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<C = String> {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Always `stdout`.
    #[serde(rename = "type")]
    pub kind: OutputType,
    /// The offset of the first byte of the content, in bytes of the output.
    pub offset: u64,
    /// At most 64 KiB of the output ([`OUTPUT_MESSAGE_BYTES`](crate::OUTPUT_MESSAGE_BYTES)); no
    /// character is split.
    pub content: C,
}

impl<C> Output<C> {
    /// Creates the parameters of output at an offset.
    pub fn new(execution_id: ExecutionId, offset: u64, content: C) -> Self {
        Self {
            execution_id,
            kind: OutputType::Stdout,
            offset,
            content,
        }
    }
}

/// The `type` of `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// The output of the execution.
    Stdout,
}

impl OutputType {
    /// Returns the type as a message writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
        }
    }
}

/// The parameters of `gap`: bytes of the output that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The offset of the first missing byte.
    pub from: u64,
    /// The offset of the first byte after the gap.
    pub to: u64,
}

/// The parameters of `notice`: docs/protocol.md, "Warnings" and "Notices".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The execution; absent if the notice concerns none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The kind of notice, stable and for programs.
    pub code: String,
    /// The text for a person.
    #[serde(default)]
    pub message: String,
    /// Details: an object or null, depending on the code.
    #[serde(default)]
    pub data: Value,
}

macro_rules! notifications {
    ($($params:ty: $name:ident;)*) => {
        $(impl Notification for $params {
            const METHOD: &'static str = method::$name;
        })*
    };
}

notifications! {
    Connected: CONNECTED;
    Gap: GAP;
    Notice: NOTICE;
}

impl<C: AsRef<str> + Serialize> Notification for Output<C> {
    const METHOD: &'static str = method::OUTPUT;

    /// Serializes the notification in its serde form, with a single allocation: most bytes that a
    /// bridge sends pass here.
    fn to_message(&self) -> String {
        let Self {
            execution_id,
            kind: OutputType::Stdout,
            offset,
            content,
        } = self;
        let content = content.as_ref();
        // The envelope, the content, and some room for escapes.
        let mut json = Vec::with_capacity(192 + content.len() + content.len() / 16);
        let head = format!(
            r#"{{"jsonrpc":"2.0","method":"{}","params":{{"executionId":"{execution_id}","#,
            Self::METHOD
        );
        json.extend_from_slice(head.as_bytes());
        let kind = format!(r#""type":"stdout","offset":{offset},"content":"#);
        json.extend_from_slice(kind.as_bytes());
        if serde_json::to_writer(&mut json, content).is_err() {
            return String::new();
        }
        json.extend_from_slice(b"}}");
        String::from_utf8(json).unwrap_or_default()
    }
}
