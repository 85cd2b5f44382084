//! The notification `statusUpdate`: the status of an execution, after each change and as a
//! heartbeat.

use std::borrow::Borrow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::notification::Notification;
use crate::rpc::{RpcError, method};
use crate::{Reason, State, Status};

/// The parameters of a `statusUpdate`: the status object of an execution and three more fields:
/// docs/protocol.md, "Notifications" and "Status object".
///
/// `S` is the status, or a reference to it, so that a sender need not copy it. An unknown word of a
/// later bridge is read as the word of the state, and an unknown `upstream` as none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdate<S = Status> {
    /// The state in capitals. The first update after a pause has `RESUMED` instead of `RUNNING`.
    #[serde(rename = "status")]
    pub word: StatusWord,
    /// Milliseconds from the creation of the execution to now, or to its end.
    pub elapsed_ms: u64,
    /// Whether the bridge cannot reach claude-api now, so that the status may be old; None while it
    /// can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// The status object.
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
    /// Serializes the notification with a status object of at most `limit` bytes; a longer one is
    /// shortened ([`Status::to_json`]).
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

/// The field `status` of a `statusUpdate`: one word for what the execution does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWord {
    /// The state of the execution, written in capitals.
    State(State),
    /// `RESUMED`: the execution runs again after a pause.
    Resumed,
}

impl StatusWord {
    const RESUMED: &'static str = "RESUMED";

    /// Returns the word as a message writes it, for example `RUNNING`.
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

/// The field `upstream` of a `statusUpdate`: what hinders the bridge from knowing the present
/// status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upstream {
    /// The bridge cannot reach claude-api, and repeats the last status that it knows.
    Unreachable,
}

impl Upstream {
    /// Returns the word as a message writes it, for example `unreachable`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
        }
    }
}

/// The parameters of the `statusUpdate` with which the bridge refuses an `execute` that was sent as
/// a notification. It has only `status`, `reason` and `error`, because there is no execution:
/// docs/protocol.md, "Requests".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RejectedExecute {
    /// Always `FAILED`.
    pub status: StatusWord,
    /// Always `rejected`.
    pub reason: Reason,
    /// The error that the answer would have had if the `execute` had been a request.
    pub error: RpcError,
}

impl RejectedExecute {
    /// Creates the parameters that report this error.
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
