//! The questions of one execution as a plain value: which are open, and how the others were closed.
//!
//! ```text
//!          ask                     begin_answer              finish_answer
//! prompt ───────▶ open ───────────────────────▶ answering ─────────────────▶ closed
//!                  ▲ │                              │
//!                  │ │ withdraw, expire, end        │ abandon_answer (the disk refused it)
//!                  │ └──────────────▶ closed        │
//!                  └────────────────────────────────┘
//! ```
//!
//! - **open**: a person may answer. A withdrawal of the CLI, the timeout or the end of the
//!   execution closes it.
//! - **answering**: an answer was accepted and is being written to the disk. Nothing else closes
//!   the question meanwhile, so at most one decision reaches the CLI.
//! - **closed**: never changes again. The table has the newest 64, and the disk has all.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use protocol::Answer;
use protocol::question::{
    ClosedBy, ClosedQuestion, Decision, OpenQuestion, Question, QuestionList, STATUS_QUESTIONS_MAX,
};
use serde_json::Value;
use uuid::Uuid;

use super::check::{self, BadAnswer};
use crate::execution::control_response::denial;
use crate::execution::prompt::{Prompt, Rule};

/// The maximum number of questions of one execution that are open at the same time. Only sub-agents
/// ask several at once. Further prompts are denied without a question.
const OPEN_MAX: usize = 32;
/// The maximum size of the inputs of all open questions of one execution together, in bytes of
/// JSON. A prompt that does not fit is denied without a question.
const OPEN_BYTES_MAX: u64 = 4 << 20;
/// The maximum number of questions of one execution. Further prompts are denied without a question.
const ASKED_MAX: u64 = 10_000;

/// The open and the newest closed questions of one execution.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The open questions, the oldest first.
    open: Vec<OpenEntry>,
    /// The newest closed questions, the oldest first.
    closed: VecDeque<ClosedQuestion>,
    /// The number of questions asked so far.
    asked: u64,
    /// Whether the execution has ended, so that nothing is asked any more.
    has_ended: bool,
}

/// A question that is open or being answered.
#[derive(Debug)]
struct OpenEntry {
    question: Question,
    prompt: Prompt,
    rememberable: Vec<Rule>,
    input_is_fixed: bool,
    /// The running time of the execution at which the question is denied. `None` without a limit.
    expires: Option<Duration>,
    /// Whether an answer is being written to the disk.
    is_answering: bool,
}

/// A prompt that becomes a question, as the caller has judged it.
#[derive(Debug)]
pub(super) struct NewQuestion {
    pub(super) question: Question,
    pub(super) prompt: Prompt,
    pub(super) rememberable: Vec<Rule>,
    pub(super) input_is_fixed: bool,
    /// The running time of the execution at which the question is denied. `None` without a limit.
    pub(super) expires: Option<Duration>,
}

/// The reason why an answer is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerRefusal {
    /// The execution has no question with this id, or the question is no longer kept.
    #[error("the execution has no question {0}")]
    Unknown(Uuid),
    /// The question was closed before, by another decision than this answer's.
    #[error("the question was closed before")]
    Closed(ClosedQuestion),
    /// Another answer is being written to the disk at this moment.
    #[error("another answer is being stored")]
    Answering,
    /// The answer does not fit the question.
    #[error("{0}")]
    Bad(#[from] BadAnswer),
    /// The answer cannot be written to the disk. The question stays open.
    #[error("the answer cannot be stored")]
    Unwritable,
}

/// An accepted answer, which must be written to the disk and then sent to the CLI.
#[derive(Debug, PartialEq)]
pub(super) struct AcceptedAnswer {
    /// The CLI's id of the prompt.
    pub(super) request_id: String,
    /// The `response` for the CLI.
    pub(super) response: Value,
}

impl Table {
    /// Returns why the execution can ask no further question now, with an input of this size. The
    /// text is for the model. `None` if it can.
    pub(super) fn is_full(&self, input_bytes: u64) -> Option<String> {
        let open_bytes: u64 = self.open.iter().map(|open| open.question.input_bytes).sum();
        if self.has_ended {
            return Some("the execution is ending".to_owned());
        }
        if self.asked >= ASKED_MAX {
            return Some(format!(
                "{ASKED_MAX} questions were asked, which is the limit"
            ));
        }
        if self.open.len() >= OPEN_MAX {
            return Some(format!("{OPEN_MAX} questions are open, which is the limit"));
        }
        if open_bytes + input_bytes > OPEN_BYTES_MAX {
            return Some(format!(
                "the inputs of open questions would be larger than {OPEN_BYTES_MAX} bytes"
            ));
        }
        None
    }

    /// Adds an open question. Returns false if the execution has ended meanwhile.
    pub(super) fn ask(&mut self, asked: NewQuestion) -> bool {
        if self.has_ended {
            return false;
        }
        let NewQuestion {
            question,
            prompt,
            rememberable,
            input_is_fixed,
            expires,
        } = asked;
        self.asked += 1;
        self.open.push(OpenEntry {
            question,
            prompt,
            rememberable,
            input_is_fixed,
            expires,
            is_answering: false,
        });
        true
    }

    /// Checks an answer to an open question, which then is `answering` until
    /// [`Table::finish_answer`] or [`Table::abandon_answer`].
    pub(super) fn begin_answer(
        &mut self,
        id: Uuid,
        answer: &Answer,
    ) -> Result<AcceptedAnswer, AnswerRefusal> {
        let Some(open) = self
            .open
            .iter_mut()
            .find(|open| open.question.question_id == id)
        else {
            let closed = self.closed.iter().find(|one| one.question_id == id);
            return Err(closed.map_or(AnswerRefusal::Unknown(id), |one| {
                AnswerRefusal::Closed(one.clone())
            }));
        };
        if open.is_answering {
            return Err(AnswerRefusal::Answering);
        }
        let response = check::check(
            answer,
            &open.prompt,
            &open.rememberable,
            open.input_is_fixed,
        )?;
        open.is_answering = true;
        Ok(AcceptedAnswer {
            request_id: open.prompt.request_id.clone(),
            response,
        })
    }

    /// Opens a question again whose answer could not be written to the disk.
    pub(super) fn abandon_answer(&mut self, id: Uuid) {
        for open in self
            .open
            .iter_mut()
            .filter(|open| open.question.question_id == id)
        {
            open.is_answering = false;
        }
    }

    /// Closes a question by the answer that was written to the disk.
    pub(super) fn finish_answer(&mut self, closed: ClosedQuestion) {
        self.open
            .retain(|open| open.question.question_id != closed.question_id);
        self.keep_closed(closed);
    }

    /// Closes the open question of a prompt that the CLI has withdrawn. Returns how it was closed;
    /// `None` if it is not open, or is being answered.
    pub(super) fn withdraw(&mut self, request_id: &str, at: Timestamp) -> Option<ClosedQuestion> {
        let mut of_prompt = self
            .open
            .iter()
            .filter(|open| !open.is_answering && open.prompt.request_id == request_id);
        let id = of_prompt.next()?.question.question_id;
        Some(self.close(id, ClosedBy::Withdrawn, None, at))
    }

    /// Closes the questions whose timeout has passed at this running time. Returns each with the
    /// CLI's id of its prompt and the `response` for the CLI.
    pub(super) fn expire(
        &mut self,
        running: Duration,
        at: Timestamp,
    ) -> Vec<(ClosedQuestion, String, Value)> {
        let is_due =
            |open: &&OpenEntry| !open.is_answering && open.expires.is_some_and(|e| e <= running);
        let due: Vec<_> = self
            .open
            .iter()
            .filter(is_due)
            .map(|open| (open.question.question_id, open.prompt.request_id.clone()))
            .collect();
        due.into_iter()
            .map(|(id, request_id)| {
                let closed = self.close(id, ClosedBy::Timeout, Some(Decision::Deny), at);
                (closed, request_id, denial(TIMED_OUT))
            })
            .collect()
    }

    /// Returns the running time at which the next question expires. `None` if none does.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let waits = self.open.iter().filter(|open| !open.is_answering);
        waits.filter_map(|open| open.expires).min()
    }

    /// Moves the shown time of each timeout, because a pause of this length has ended.
    pub(super) fn delay(&mut self, pause: Duration) {
        for open in &mut self.open {
            if let Some(expires_at) = open.question.expires_at {
                open.question.expires_at =
                    Some(expires_at.saturating_add(pause).unwrap_or(expires_at));
            }
        }
    }

    /// Closes the open questions, because the execution ends, except those that are being answered.
    /// None can be asked afterwards. Returns how many it closed.
    pub(super) fn end(&mut self, at: Timestamp) -> u64 {
        self.has_ended = true;
        let ids: Vec<_> = self
            .open
            .iter()
            .filter(|open| !open.is_answering)
            .map(|open| open.question.question_id)
            .collect();
        for id in &ids {
            self.close(*id, ClosedBy::End, None, at);
        }
        ids.len() as u64
    }

    fn close(
        &mut self,
        id: Uuid,
        closed_by: ClosedBy,
        decision: Option<Decision>,
        closed_at: Timestamp,
    ) -> ClosedQuestion {
        self.open.retain(|open| open.question.question_id != id);
        let closed = ClosedQuestion {
            question_id: id,
            closed_by,
            decision,
            principal: None,
            closed_at,
        };
        self.keep_closed(closed.clone());
        closed
    }

    fn keep_closed(&mut self, closed: ClosedQuestion) {
        self.closed.push_back(closed);
        while self.closed.len() > QuestionList::CLOSED_MAX {
            self.closed.pop_front();
        }
    }

    /// Returns how a question was closed. `None` if it is not closed, or not among the newest 64.
    pub(super) fn closed(&self, id: Uuid) -> Option<ClosedQuestion> {
        self.closed
            .iter()
            .find(|closed| closed.question_id == id)
            .cloned()
    }

    /// Returns whether a question is open or being answered.
    pub(super) fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// Returns an open question with its whole input.
    pub(super) fn find(&self, id: Uuid) -> Option<Question> {
        let open = self
            .open
            .iter()
            .find(|open| open.question.question_id == id)?;
        Some(open.question.clone())
    }

    /// Returns the list for clients.
    pub(super) fn list(&self) -> QuestionList {
        QuestionList {
            open: self
                .open
                .iter()
                .map(|open| open.question.clone().shortened())
                .collect(),
            closed: self.closed.iter().cloned().collect(),
        }
    }

    /// Returns the questions for the status, and the number of all open questions.
    pub(super) fn for_status(&self) -> (Vec<OpenQuestion>, u64) {
        let oldest = self.open.iter().take(STATUS_QUESTIONS_MAX);
        (
            oldest.map(|open| open.question.open()).collect(),
            self.open.len() as u64,
        )
    }
}

/// The message that the model reads if nobody has answered in time.
const TIMED_OUT: &str = "Nobody answered in time, so this was denied. Go on without it.";

#[cfg(test)]
mod tests;
