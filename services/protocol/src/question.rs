//! Questions: decisions that the CLI asks of a person while it runs (docs/protocol.md,
//! "Questions"). A question is a permission to use a tool, a choice of the model, or a plan.
//!
//! An execution with `"permissionPrompts": "ask"` asks. Every viewer sees its questions. The first
//! valid answer closes a question.

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
pub const MESSAGE_INPUT_BYTES_MAX: usize = 16 * 1024;
/// The maximum number of questions in a status, the oldest ones.
pub const STATUS_QUESTIONS_MAX: usize = 16;
/// The maximum length of the title of a question in a status, in bytes.
pub const TITLE_BYTES_MAX: usize = 200;

/// The treatment of the CLI's permission prompts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PermissionPrompts {
    /// Each prompt is denied at once.
    #[default]
    Deny,
    /// Each prompt becomes a question, which any client with the role `control` may answer.
    Ask,
    /// Each prompt, hook and request to an MCP server of the client passes to the client that sends
    /// the input. This is how programs of the Agent SDK work.
    Client,
}

impl PermissionPrompts {
    /// Returns the value as JSON has it, for example `ask`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Ask => "ask",
            Self::Client => "client",
        }
    }
}

/// The kind of a question, which decides which members an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// A permission to use a tool with an input.
    Permission,
    /// One or more questions of the model, with options to choose from (the tool
    /// `AskUserQuestion`). The answer has `answers`.
    Choice,
    /// Approval of the model's plan, which the model then carries out (the tool `ExitPlanMode`).
    Plan,
}

/// A question that the CLI asks, with everything that a person needs to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The id of the question, which its answer names.
    pub question_id: Uuid,
    /// The kind of the question.
    pub kind: QuestionKind,
    /// The name of the tool, such as `Bash`.
    pub tool: String,
    /// The name of the tool for people. `None` if the CLI gave none.
    pub display_name: Option<String>,
    /// The command, path, address, query, plan or first question, else the description or the tool:
    /// at most 4 KiB. It may have line feeds and control characters; [`visible`] escapes them.
    pub title: String,
    /// The model's own description of the use, or the CLI's reason to ask. `None` if there is none.
    pub description: Option<String>,
    /// The input of the tool. `None` if it is larger than [`MESSAGE_INPUT_BYTES_MAX`] and the
    /// message must be short.
    pub input: Option<Value>,
    /// The size of the input, in bytes of JSON.
    pub input_bytes: u64,
    /// The rules that `remember` in an answer can add, each an entry for the CLI's permissions such
    /// as `Bash(git status)`.
    pub suggestions: Vec<String>,
    /// The id of the sub-agent that asks. `None` in the main conversation.
    pub agent_id: Option<String>,
    /// The time at which the CLI asked.
    pub asked_at: Timestamp,
    /// The time at which the question is denied without an answer. A pause delays it. `None`
    /// without a limit.
    pub expires_at: Option<Timestamp>,
}

impl Question {
    /// Leaves out the input if it is larger than [`MESSAGE_INPUT_BYTES_MAX`].
    #[must_use]
    pub fn shortened(mut self) -> Self {
        if self.input_bytes > MESSAGE_INPUT_BYTES_MAX as u64 {
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
    /// The kind of the question.
    pub kind: QuestionKind,
    /// The name of the tool, such as `Bash`.
    pub tool: String,
    /// The beginning of the title, at most [`TITLE_BYTES_MAX`] bytes. It may have line feeds and
    /// control characters.
    pub title: String,
    /// The time at which the CLI asked.
    pub asked_at: Timestamp,
    /// The time at which the question is denied without an answer. `None` without a limit.
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
