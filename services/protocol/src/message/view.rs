//! The notifications `output`, `gap` and `notice`, which report the output of an execution and
//! incidents while it runs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connected::Connected;
use super::notification::Notification;
use crate::ExecutionId;
use crate::json::push_string;
use crate::rpc::method;

/// The parameters of the notification `output`, which carries the next part of an execution's
/// output (docs/protocol.md, "Notifications").
///
/// `C` is the type of the text. It is a `String` for a receiver, and may be a `&str` for a sender,
/// which then does not copy the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<C = String> {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The kind of the output. It is always `stdout` in this version of the protocol.
    #[serde(rename = "type")]
    pub kind: OutputType,
    /// The position of the first byte of `content`, counted in bytes of UTF-8 from the start of the
    /// execution's output.
    pub offset: u64,
    /// The text, of at most 64 KiB ([`OUTPUT_MESSAGE_BYTES`](crate::OUTPUT_MESSAGE_BYTES)). It
    /// never splits a UTF-8 character.
    pub content: C,
}

impl<C> Output<C> {
    /// Creates the parameters for text that begins at this offset of the execution's output, in
    /// bytes.
    pub fn new(execution_id: ExecutionId, offset: u64, content: C) -> Self {
        Self {
            execution_id,
            kind: OutputType::Stdout,
            offset,
            content,
        }
    }
}

/// The kind of output in a notification `output`, as its field `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// The output of the execution; there is no other type yet.
    Stdout,
}

impl OutputType {
    /// Returns the name of this kind in JSON, `stdout`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
        }
    }
}

/// The parameters of the notification `gap`, which announces a range of the output that the bridge
/// does not send. claude-api no longer keeps these bytes, or the client reads too slowly and
/// requested `"onSlow": "skip"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the first byte that is not sent, in bytes of the output.
    pub from: u64,
    /// The offset of the first byte after the gap, in bytes of the output. The next `output` begins
    /// there.
    pub to: u64,
}

/// The parameters of the notification `notice`, which reports an incident that does not change the
/// state of an execution, such as a retry of the model's API (docs/protocol.md, "Warnings" and
/// "Notices").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The id of the execution. `None` if the notice concerns the bridge as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The kind of the incident, as a name for programs. A name keeps its meaning in later
    /// versions.
    pub code: String,
    /// A description of the incident for people.
    #[serde(default)]
    pub message: String,
    /// Details for programs, an object whose members depend on `code`. Null if there are none.
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

    /// Returns the notification as JSON-RPC text, the same as serde would write, but with a single
    /// allocation. Most bytes that a bridge sends are output, so this is its hottest serialization.
    fn to_message(&self) -> String {
        let Self {
            execution_id,
            kind: OutputType::Stdout,
            offset,
            content,
        } = self;
        let content = content.as_ref();
        // The envelope, the content, and room for the escapes of JSON lines, which have a quote in
        // about every eighth byte.
        let mut json = String::with_capacity(192 + content.len() + content.len() / 6);
        // Writing to a string cannot fail.
        let _ = write!(
            json,
            "{{\"jsonrpc\":\"2.0\",\"method\":\"{}\",\"params\":{{\
             \"executionId\":\"{execution_id}\",\"type\":\"stdout\",\
             \"offset\":{offset},\"content\":",
            Self::METHOD
        );
        push_string(&mut json, content);
        json.push_str("}}");
        json
    }
}
