//! The notifications about the output of an execution: `output`, `gap` and `notice`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connected::Connected;
use super::notification::Notification;
use crate::ExecutionId;
use crate::rpc::method;

/// The parameters of `output`: the next bytes of an execution's output. See docs/protocol.md,
/// "Notifications".
///
/// `C` is the type of the content: a `String`, or a `&str` so that a sender need not copy it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<C = String> {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// Always `stdout` in this version.
    #[serde(rename = "type")]
    pub kind: OutputType,
    /// The offset of the first byte of the content, counted in bytes of UTF-8 from the start of the
    /// output.
    pub offset: u64,
    /// The text, at most 64 KiB ([`OUTPUT_MESSAGE_BYTES`](crate::OUTPUT_MESSAGE_BYTES)). It begins
    /// and ends between two characters.
    pub content: C,
}

impl<C> Output<C> {
    /// Creates the parameters for content that begins at this offset of the output.
    pub fn new(execution_id: ExecutionId, offset: u64, content: C) -> Self {
        Self {
            execution_id,
            kind: OutputType::Stdout,
            offset,
            content,
        }
    }
}

/// The field `type` of an `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// The output of the execution; there is no other type yet.
    Stdout,
}

impl OutputType {
    /// Returns the type as a message writes it, `stdout`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
        }
    }
}

/// The parameters of `gap`: a range of the output that the bridge does not send. The bytes are no
/// longer kept, or the client reads too slowly and requested `"onSlow": "skip"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the first missing byte.
    pub from: u64,
    /// The offset of the first byte after the gap.
    pub to: u64,
}

/// The parameters of `notice`: an incident that changes no state, such as a retry. See
/// docs/protocol.md, "Warnings" and "Notices".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The id of the execution; None if the notice is not about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The kind of the incident, for programs. Codes do not change between versions.
    pub code: String,
    /// A description of the incident for people.
    #[serde(default)]
    pub message: String,
    /// Details for programs: an object or null, depending on the code.
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

    /// Serializes as serde would, but with a single allocation: most bytes that a bridge sends are
    /// output.
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
