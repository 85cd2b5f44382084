//! Questions: decisions that the CLI asks of a person while it runs (docs/protocol.md,
//! "Questions"). A question is a permission to use a tool, a choice of the model, or a plan.
//!
//! An execution with `"permissionPrompts": "ask"` asks. Every viewer sees its questions, and the
//! first valid answer closes one.

mod answer;
mod closed;
mod visible;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use answer::{ANSWER_BYTES_MAX, Answer, Answered, Decision, MESSAGE_BYTES_MAX};
pub use closed::{ClosedBy, ClosedQuestion, QuestionClosed};
pub use visible::visible;

use crate::ExecutionId;
use crate::message::Notification;
use crate::rpc::method;

/// The largest input of a tool in a [`Question`] of a notification or a list, in bytes of JSON. A
/// larger one is left out; `GET .../questions/{questionId}` has it.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// The maximum number of questions in a status, the oldest ones.
pub const STATUS_QUESTIONS_MAX: usize = 16;
/// The maximum length of the title of a question in a status, in bytes.
pub const TITLE_BYTES_MAX: usize = 200;

/// Who decides when the CLI asks for a permission during an execution.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PermissionPrompts {
    /// Nobody: the CLI refuses at once what the permissions do not allow.
    #[default]
    Deny,
    /// The viewers of the execution: each prompt becomes a question.
    Ask,
}

impl PermissionPrompts {
    /// Returns the value as JSON has it, for example `ask`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }
}

/// What a question asks for. The kind says which members of an answer matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// A permission to use a tool with an input.
    Permission,
    /// One or more questions of the model, with options to choose from (the tool
    /// `AskUserQuestion`). The answer has `answers`.
    Choice,
    /// Approval of the model's plan, after which the model may act (the tool `ExitPlanMode`).
    Plan,
}

/// A question that the CLI asks, with everything that a person needs to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The id of the question, which its answer names.
    pub question_id: Uuid,
    /// What the question asks for.
    pub kind: QuestionKind,
    /// The name of the tool, such as `Bash`.
    pub tool: String,
    /// The name of the tool for people. `None` if the CLI gave none.
    pub display_name: Option<String>,
    /// One line that says what the tool would do, such as the command of Bash.
    pub title: String,
    /// The model's own description of the use, or the CLI's reason to ask. `None` if there is none.
    pub description: Option<String>,
    /// The input of the tool. `None` if it is larger than [`INPUT_BYTES_MAX`] and the message must
    /// be short.
    pub input: Option<Value>,
    /// The size of the input, in bytes of JSON.
    pub input_bytes: u64,
    /// The rules that `remember` in an answer can add, each an entry for the CLI's permissions such
    /// as `Bash(git status)`.
    pub suggestions: Vec<String>,
    /// The id of the sub-agent that asks. `None` in the main conversation.
    pub agent_id: Option<String>,
    /// When the CLI asked.
    pub asked_at: Timestamp,
    /// When the question is denied unless it is answered before. A pause delays it. `None` if it
    /// waits without a limit.
    pub expires_at: Option<Timestamp>,
}

impl Question {
    /// Leaves out the input if it is larger than [`INPUT_BYTES_MAX`].
    #[must_use]
    pub fn shortened(mut self) -> Self {
        if self.input_bytes > INPUT_BYTES_MAX as u64 {
            self.input = None;
        }
        self
    }

    /// Returns the entry of the question in the status.
    #[must_use]
    pub fn open(&self) -> OpenQuestion {
        OpenQuestion {
            question_id: self.question_id,
            kind: self.kind,
            tool: self.tool.clone(),
            title: cut(&self.title, TITLE_BYTES_MAX).to_owned(),
            asked_at: self.asked_at,
            expires_at: self.expires_at,
        }
    }
}

/// An open question in the status of its execution: enough to list it, not to decide it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenQuestion {
    /// The id of the question, which its answer names.
    pub question_id: Uuid,
    /// What the question asks for.
    pub kind: QuestionKind,
    /// The name of the tool, such as `Bash`.
    pub tool: String,
    /// One line that says what the tool would do, at most [`TITLE_BYTES_MAX`] bytes.
    pub title: String,
    /// When the CLI asked.
    pub asked_at: Timestamp,
    /// When the question is denied unless it is answered before. `None` without a limit.
    pub expires_at: Option<Timestamp>,
}

/// The questions of one execution, as `GET /v1/executions/{id}/questions` returns them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QuestionList {
    /// The open questions, the oldest first. A large input is left out.
    pub open: Vec<Question>,
    /// The questions that were closed last, the oldest first, at most [`QuestionList::CLOSED_MAX`].
    pub closed: Vec<ClosedQuestion>,
}

impl QuestionList {
    /// The maximum number of closed questions in the list, the newest ones.
    pub const CLOSED_MAX: usize = 64;
}

/// The notification `question`: an execution that this session views asks a question. The bridge
/// sends it when the CLI asks, and for each open question when a view begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionAsked {
    /// The id of the execution that asks.
    pub execution_id: ExecutionId,
    /// The question. A large input is left out.
    pub question: Question,
}

impl Notification for QuestionAsked {
    const METHOD: &'static str = method::QUESTION;
}

/// Returns the beginning of a text, at most `bytes` long, cut between characters.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
