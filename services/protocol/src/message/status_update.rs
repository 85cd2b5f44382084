//! The notification `statusUpdate`, which sends the status of an execution after each change and at
//! intervals as a heartbeat.

use std::borrow::Borrow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::notification::Notification;
use crate::rpc::{RpcError, method};
use crate::{Reason, State, Status};

/// The parameters of the notification `statusUpdate`, which are the status object of an execution
/// and three more fields (docs/protocol.md, "Notifications" and "Status object").
///
/// `S` is the status, or a reference to it for a sender, which then does not copy it. If a later
/// bridge sends an unknown word as `status`, it is read as the word of the state. An unknown
/// `upstream` is read as absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdate<S = Status> {
    /// The state of the execution in capitals. The first update after a pause has `RESUMED` instead
    /// of `RUNNING`.
    #[serde(rename = "status")]
    pub word: StatusWord,
    /// The time from the creation of the execution to now, or to its end, in milliseconds.
    pub elapsed_ms: u64,
    /// The reason why the status may be out of date, which is that the bridge cannot reach
    /// claude-api. `None` while the bridge reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// The status object of the execution. In JSON its fields stand beside the other fields.
    #[serde(flatten)]
    pub status: S,
}

impl<'de> Deserialize<'de> for StatusUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Members {
            #[serde(rename = "status")]
            word: String,
            elapsed_ms: u64,
            upstream: Option<String>,
            #[serde(flatten)]
            status: Status,
        }
        let Members {
            word,
            elapsed_ms,
            upstream,
            status,
        } = Members::deserialize(deserializer)?;
        let word = StatusWord::from_name(&word);
        let upstream = upstream.filter(|name| name == Upstream::Unreachable.as_str());
        Ok(Self {
            word: word.unwrap_or(StatusWord::State(status.state)),
            elapsed_ms,
            upstream: upstream.map(|_| Upstream::Unreachable),
            status,
        })
    }
}

impl<S: Borrow<Status>> StatusUpdate<S> {
    /// Returns the notification as JSON-RPC text, with a status object of at most `limit` bytes. A
    /// longer status is shortened first ([`Status::to_json`]), so that it fits into one message.
    ///
    /// The JSON of the status is copied into the message, without an intermediate value.
    #[must_use]
    pub fn to_message_within(&self, limit: usize) -> String {
        let Self {
            word,
            elapsed_ms,
            upstream,
            status,
        } = self;
        let upstream = match upstream {
            Some(upstream) => format!(r#""upstream":"{}","#, upstream.as_str()),
            None => String::new(),
        };
        let object = status.borrow().to_json(limit);
        let object = String::from_utf8_lossy(&object);
        let fields = object.strip_prefix('{').unwrap_or("}");
        let (name, word) = (method::STATUS_UPDATE, word.as_str());
        let own = format!(r#""status":"{word}","elapsedMs":{elapsed_ms},{upstream}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":{{{own}{fields}}}"#)
    }
}

impl<S: Serialize> Notification for StatusUpdate<S> {
    const METHOD: &'static str = method::STATUS_UPDATE;
}

/// The word for the state of an execution in the field `status` of a `statusUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWord {
    /// The state of the execution, written in capitals.
    State(State),
    /// `RESUMED`: the execution runs again after a pause.
    Resumed,
}

impl StatusWord {
    const RESUMED: &'static str = "RESUMED";

    /// Returns the word as JSON has it, for example `RUNNING`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State(state) => state.as_upper_case(),
            Self::Resumed => Self::RESUMED,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        if name == Self::RESUMED {
            return Some(Self::Resumed);
        }
        let state = State::ALL.into_iter().find(|s| s.as_upper_case() == name);
        state.map(Self::State)
    }
}

impl Serialize for StatusWord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StatusWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom(format!("{word:?} is not a status"));
        Self::from_name(&word).ok_or_else(unknown)
    }
}

/// The reason why the bridge cannot know the present status of an execution, as the field
/// `upstream` of a `statusUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upstream {
    /// The bridge cannot reach claude-api, and repeats the last status that it knows.
    Unreachable,
}

impl Upstream {
    /// Returns the word as JSON has it, for example `unreachable`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
        }
    }
}

/// The parameters of a `statusUpdate` that refuses an `execute` without a request id, to which
/// JSON-RPC allows no answer. It has only `status`, `reason` and `error`, because no execution
/// exists (docs/protocol.md, "Requests").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RejectedExecute {
    /// Always `FAILED`.
    pub status: StatusWord,
    /// Always `rejected`.
    pub reason: Reason,
    /// The JSON-RPC error with which the bridge would have answered a request with an id.
    pub error: RpcError,
}

impl RejectedExecute {
    /// Creates the parameters of the notification that reports this error.
    #[must_use]
    pub fn new(error: RpcError) -> Self {
        Self {
            status: StatusWord::State(State::Failed),
            reason: Reason::Rejected,
            error,
        }
    }
}

impl Notification for RejectedExecute {
    const METHOD: &'static str = method::STATUS_UPDATE;
}
