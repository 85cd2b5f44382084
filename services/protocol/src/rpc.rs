//! The method names, error codes and close codes that the bridge and its clients use for JSON-RPC
//! 2.0 over WebSocket.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The method names of JSON-RPC requests and notifications (docs/protocol.md, "Requests" and
/// "Notifications").
#[allow(missing_docs, reason = "docs/protocol.md describes each of them")]
pub mod method {
    pub const CONNECTED: &str = "connected";
    pub const EXECUTE: &str = "execute";
    pub const STATUS_UPDATE: &str = "statusUpdate";
    pub const OUTPUT: &str = "output";
    pub const GAP: &str = "gap";
    pub const NOTICE: &str = "notice";
    pub const CONTROL: &str = "control";
    pub const ATTACH: &str = "attach";
    pub const DETACH: &str = "detach";
    pub const INPUT: &str = "input";
    pub const STATUS: &str = "status";
    pub const LIST: &str = "list";
    pub const EVENTS: &str = "events";
    pub const SHARE: &str = "share";
    pub const ANSWER: &str = "answer";
    pub const QUESTION: &str = "question";
    pub const QUESTION_CLOSED: &str = "questionClosed";
    pub const PING: &str = "ping";
}

/// The error codes of JSON-RPC answers. They are the codes of JSON-RPC 2.0 (section 5.1) and the
/// codes of cc-bridge from -32001 on (docs/protocol.md, "Error codes").
#[allow(missing_docs, reason = "docs/protocol.md describes each of them")]
pub mod code {
    pub const PARSE_ERROR: i64 = -32700;
    pub const INVALID_REQUEST: i64 = -32600;
    pub const METHOD_NOT_FOUND: i64 = -32601;
    pub const INVALID_PARAMS: i64 = -32602;
    pub const INTERNAL_ERROR: i64 = -32603;
    pub const TOO_MANY_SESSIONS: i64 = -32001;
    pub const NOT_ALLOWED: i64 = -32002;
    pub const NO_SUCH_EXECUTION: i64 = -32003;
    pub const QUEUE_FULL: i64 = -32004;
    pub const UNAVAILABLE: i64 = -32005;
    pub const NOT_AUTHORISED: i64 = -32006;
    pub const OFFSET_NOT_KEPT: i64 = -32007;
    pub const WRONG_STATE: i64 = -32008;
    pub const ID_IN_USE: i64 = -32009;
}

/// The close codes with which a WebSocket connection ends (RFC 6455, section 7.4, and IANA's
/// registry; docs/protocol.md, "Close codes").
#[allow(missing_docs, reason = "docs/protocol.md describes each of them")]
pub mod close {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const INTERNAL_ERROR: u16 = 1011;
    pub const RESTARTING: u16 = 1012;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// A JSON-RPC error object, with which the bridge refuses a request. The member `reason` of `data`
/// is a finer reason than the code, for programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// The error code, one of the constants in [`code`].
    pub code: i64,
    /// What was wrong and what to do, for people.
    pub message: String,
    /// Details for programs, an object with the member `reason` and, for some reasons, further
    /// members. Null if there are none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl RpcError {
    /// Creates an error with this code and message, whose `data` has only this reason.
    pub fn new(code: i64, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: json!({ "reason": reason }),
        }
    }

    /// Returns the reason for programs, which is the member `reason` of `data`. Empty if there is
    /// none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.data["reason"].as_str().unwrap_or_default()
    }

    /// Adds a member to `data`, or replaces the one of this name, and returns the error.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data[name] = value.into();
        self
    }
}

/// What the bridge does with an execution when the session (WebSocket connection) that started it
/// has ended (docs/protocol.md, "Request parameters").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// The execution continues, and a client can attach to it later.
    #[default]
    Continue,
    /// The execution is cancelled after 10 s, unless some client receives its output again by then.
    Cancel,
}

/// What the bridge does when a client reads output more slowly than it is generated
/// (docs/protocol.md, "Flow control").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSlow {
    /// The client receives all output, only later. The bridge reads it again from claude-api, which
    /// keeps it.
    #[default]
    Wait,
    /// The bridge drops the oldest unsent output beyond the limit `skipBytes`, and sends a `gap`
    /// for it.
    Skip,
}
