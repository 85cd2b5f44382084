//! The answer to a question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::json::or_default;

/// The maximum length of an answer, in bytes of JSON (1 MiB). An answer may carry a whole input of
/// a tool.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The maximum length of `message` in an answer, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The decision of a person about a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The tool runs, the choice is made, or the plan is accepted.
    Allow,
    /// The tool does not run. The model reads that it was denied, and the message of the answer.
    Deny,
}

impl Decision {
    /// Returns the decision as JSON has it, for example `allow`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// The answer of a person to a question: the body of
/// `POST /v1/executions/{id}/questions/{questionId}`, and most parameters of the request `answer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// The decision: allow or deny.
    pub decision: Decision,
    /// The reason for a denial, which the model reads. Only with `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The input with which the tool runs in place of the one that was asked for. Only with `allow`
    /// of a permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_input: Option<Map<String, Value>>,
    /// The answers to a choice: for the text of each question the label of an option, several
    /// labels with `, ` between them, or a text of one's own. Only with `allow` of a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<BTreeMap<String, String>>,
    /// Rules from `suggestions` of the question that apply to the rest of this execution. Only with
    /// `allow` of a permission.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub remember: Vec<String>,
    /// Whether the CLI also stops its present turn. Only with `deny`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub interrupt: bool,
}

impl Answer {
    /// Creates an answer that allows what was asked for, as it was asked for.
    #[must_use]
    pub fn allow() -> Self {
        Self::new(Decision::Allow)
    }

    /// Creates an answer that denies what was asked for, without a reason.
    #[must_use]
    pub fn deny() -> Self {
        Self::new(Decision::Deny)
    }

    fn new(decision: Decision) -> Self {
        Self {
            decision,
            message: None,
            updated_input: None,
            answers: None,
            remember: Vec::new(),
            interrupt: false,
        }
    }
}

/// The result of an answer: the question is closed by it, and the answer is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The question that was answered.
    pub question_id: Uuid,
    /// The decision of the answer.
    pub decision: Decision,
    /// The principal of the person who answered. `None` without tokens.
    pub principal: Option<String>,
}
