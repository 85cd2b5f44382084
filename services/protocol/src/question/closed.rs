//! How a question was closed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Decision;
use crate::ExecutionId;
use crate::message::Notification;
use crate::rpc::method;

/// The cause for which a question was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// A person has answered.
    Answer,
    /// Nobody has answered in time, so it was denied.
    Timeout,
    /// The execution has ended.
    End,
    /// The CLI does not need an answer any more, for example after an interrupt.
    Withdrawn,
}

impl ClosedBy {
    /// Returns the cause as JSON has it, for example `timeout`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Timeout => "timeout",
            Self::End => "end",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A question that nobody can answer any more, and how it was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosedQuestion {
    /// The question that was closed.
    pub question_id: Uuid,
    /// The cause.
    pub closed_by: ClosedBy,
    /// The decision. `None` if there was none: the execution ended, or the question was withdrawn.
    pub decision: Option<Decision>,
    /// The principal of the person who answered. `None` without an answer, and without tokens.
    pub principal: Option<String>,
    /// The time at which the question was closed.
    pub closed_at: Timestamp,
}

/// The notification `questionClosed`: a question of an execution that this session views was
/// closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionClosed {
    /// The id of the execution that asked.
    pub execution_id: ExecutionId,
    /// The question, and how it was closed.
    #[serde(flatten)]
    pub closed: ClosedQuestion,
}

impl Notification for QuestionClosed {
    const METHOD: &'static str = method::QUESTION_CLOSED;
}
