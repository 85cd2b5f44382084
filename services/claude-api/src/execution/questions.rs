//! The questions of an execution: permission prompts of its CLI that a person answers
//! (docs/protocol.md, "Questions").
//!
//! ```text
//! the CLI's stdout ──▶ prompt ──▶ ceiling ──▶ disk ──▶ table ──▶ status ──▶ viewers
//!                                    │ denied without a question               │
//! the CLI's stdin ◀──────────────────┴──────── disk ◀── check ◀── answer ◀─────┘
//! ```
//!
//! A question is on disk before a viewer sees it, and an answer before it is confirmed. So
//! questions do not depend on a viewer or a bridge. All are closed at the end of their execution,
//! at the latest when claude-api ends.

mod check;
mod journal;
mod table;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use protocol::Answer;
use protocol::question::{
    Answered, ClosedBy, ClosedQuestion, OpenQuestion, Question, QuestionList,
};
use serde_json::Value;
use spool::QuestionLine;
use tokio::sync::watch;
use uuid::Uuid;

pub use check::BadAnswer;
pub(crate) use journal::{Recorded, closed_by_end, ended_list};
pub use table::AnswerRefusal;

use super::control_response::{denial, error_line, success_line};
use super::input::Gate;
use super::prompt::{Prompt, PromptVerdict};
use crate::config::AnswerCeiling;
use crate::metrics::QuestionCounters;
use journal::Line;
use table::{AcceptedAnswer, NewQuestion, Table};

/// The largest input of a prompt that becomes a question, in bytes of JSON (1 MiB). A larger one is
/// denied without a question: nobody could read it.
const ASKED_INPUT_BYTES_MAX: usize = 1 << 20;

/// The longest id of a control request that becomes a question, in bytes. The CLI's ids have 36.
const REQUEST_ID_BYTES_MAX: usize = 1024;

/// The questions of one execution that asks, shared by its task and by the requests of clients.
///
/// - An entry is taken when the CLI asks, and freed by an answer, a withdrawal, the timeout or the
///   end of the execution. 32 questions with 4 MiB of inputs may be open at once.
/// - Nobody waits for an entry: a prompt that does not fit is denied without a question.
/// - Answers of one execution are stored one at a time, in the order in which they arrive. A
///   waiting answer is at most 1 MiB; the client's quota of request bodies bounds them while it is
///   connected.
/// - The end of the execution waits for an answer that is being stored.
pub(crate) struct Questions {
    /// A lock, because every change is short. No await and no disk access happens inside.
    table: Mutex<Table>,
    /// Held while an answer is written to the disk, and taken for the end.
    answering: tokio::sync::Mutex<()>,
    /// Wakes the execution's task after each change.
    changed: watch::Sender<()>,
    /// The input of the CLI, which gets the answers.
    gate: Arc<Gate>,
    /// The files of the execution.
    entry: spool::Entry,
    /// The most that an answer may allow.
    ceiling: AnswerCeiling,
    /// The running time after which a question is denied. `None` without a limit.
    timeout: Option<Duration>,
    /// Counts the questions of all executions.
    counters: QuestionCounters,
}

impl Questions {
    /// Creates the questions of an execution that has not started.
    pub(crate) fn new(
        gate: Arc<Gate>,
        entry: spool::Entry,
        ceiling: AnswerCeiling,
        timeout: Option<Duration>,
        counters: QuestionCounters,
    ) -> Self {
        Self {
            table: Mutex::default(),
            answering: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(()),
            gate,
            entry,
            ceiling,
            timeout,
            counters,
        }
    }

    /// Runs `act` on the table while holding its lock.
    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a receiver that wakes after each change of the questions.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Handles a control request of the CLI: asks a question, or denies it at once if nobody may be
    /// asked. `request` is `None` if the request could not be read. `running` is the running time
    /// of the execution. Blocks on the disk.
    pub(crate) fn requested(
        &self,
        request_id: &str,
        request: Option<&Value>,
        at: Timestamp,
        running: Duration,
    ) {
        let prompt = request.and_then(|request| Prompt::read(request_id, request));
        let Some(prompt) = prompt.filter(|_| request_id.len() <= REQUEST_ID_BYTES_MAX) else {
            let message = "cc-bridge answers permission prompts only";
            self.gate.push(&error_line(request_id, message));
            return;
        };
        if let Err(reason) = self.ask(prompt, at, running) {
            self.respond(request_id, &denial(&format!("Nobody was asked: {reason}.")));
        }
    }

    /// Turns a prompt into an open question. Fails with the reason for the model if the prompt must
    /// be denied without a question. Blocks on the disk.
    fn ask(&self, prompt: Prompt, at: Timestamp, running: Duration) -> Result<(), String> {
        if self.gate.has_ended() {
            // The CLI denies the prompt itself, because its stdin is closed.
            return Err("the input of the CLI has ended".to_owned());
        }
        let input_is_fixed = match self.ceiling.judge(&prompt) {
            PromptVerdict::Ask { input_is_fixed } => input_is_fixed,
            PromptVerdict::Deny(reason) => return Err(reason),
        };
        let expires = self.timeout.map(|timeout| running.saturating_add(timeout));
        let expires_at = self
            .timeout
            .and_then(|timeout| at.saturating_add(timeout).ok());
        let rememberable = self.ceiling.rememberable(&prompt);
        let question = prompt.question(Uuid::new_v4(), &rememberable, at, expires_at);
        let input_bytes = question.input_bytes;
        if input_bytes > ASKED_INPUT_BYTES_MAX as u64 {
            return Err(format!(
                "the input has {input_bytes} bytes; at most {ASKED_INPUT_BYTES_MAX}"
            ));
        }
        if let Some(reason) = self.with(|table| table.is_full(input_bytes)) {
            return Err(reason);
        }
        let line = Line::Asked(Box::new(question.clone())).to_json();
        if let Err(error) = self.entry.append_question_line(QuestionLine::Asked, &line) {
            tracing::warn!(
                execution = %self.entry.id(),
                %error,
                "could not write a question to the spool; the tool is denied"
            );
            return Err("the question cannot be stored".to_owned());
        }
        let asked = NewQuestion {
            question,
            prompt,
            rememberable,
            input_is_fixed,
            expires,
        };
        if !self.with(|table| table.ask(asked)) {
            return Err("the execution is ending".to_owned());
        }
        self.counters.asked();
        self.changed.send_replace(());
        Ok(())
    }

    /// Closes the question of a prompt that the CLI has withdrawn. Blocks on the disk.
    pub(crate) fn withdrawn(&self, request_id: &str, at: Timestamp) {
        if let Some(closed) = self.with(|table| table.withdraw(request_id, at)) {
            self.record(closed);
        }
    }

    /// Denies the questions whose timeout has passed at this running time. Blocks on the disk.
    pub(crate) fn expire(&self, running: Duration, at: Timestamp) {
        for (closed, request_id, response) in self.with(|table| table.expire(running, at)) {
            self.record(closed);
            self.respond(&request_id, &response);
        }
    }

    /// Returns the running time at which [`Questions::expire`] must be called next. `None` if no
    /// question has a timeout.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.with(|table| table.next_expiry())
    }

    /// Moves the shown times of the timeouts after a pause of this length.
    pub(crate) fn delay(&self, pause: Duration) {
        self.with(|table| table.delay(pause));
        self.changed.send_replace(());
    }

    /// Answers a question. When this returns, the answer is on disk, and the CLI gets it as soon as
    /// it reads its stdin. The work completes even if the caller is dropped. At its end it drops
    /// `charge`, the client's charge for the memory of the answer.
    ///
    /// # Errors
    /// See [`AnswerRefusal`]. The question stays open unless it was closed before.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        id: Uuid,
        answer: Answer,
        principal: Option<String>,
        charge: impl Send + 'static,
    ) -> Result<Answered, AnswerRefusal> {
        let questions = Arc::clone(self);
        let work = tokio::spawn(async move {
            let _charge = charge;
            let _turn = questions.answering.lock().await;
            questions.answer_in_turn(id, answer, principal).await
        });
        work.await.unwrap_or(Err(AnswerRefusal::Unwritable))
    }

    async fn answer_in_turn(
        self: &Arc<Self>,
        id: Uuid,
        answer: Answer,
        principal: Option<String>,
    ) -> Result<Answered, AnswerRefusal> {
        let AcceptedAnswer {
            request_id,
            response,
        } = self.with(|table| table.begin_answer(id, &answer))?;
        let decision = answer.decision;
        let closed = ClosedQuestion {
            question_id: id,
            closed_by: ClosedBy::Answer,
            decision: Some(decision),
            principal: principal.clone(),
            closed_at: Timestamp::now(),
        };
        let line = Line::Closed {
            closed: closed.clone(),
            answer: Some(answer),
        };
        let entry = self.entry.clone();
        let written = spool::blocking::run_io(move || {
            entry.append_question_line(QuestionLine::Closed, &line.to_json())
        });
        if let Err(error) = written.await {
            self.with(|table| table.abandon_answer(id));
            // Its timeout counts again.
            self.changed.send_replace(());
            tracing::warn!(
                execution = %self.entry.id(),
                %error,
                "could not write an answer to the spool; the question stays open"
            );
            return Err(AnswerRefusal::Unwritable);
        }
        // Before the question is closed: stdin may end when no question is open.
        self.respond(&request_id, &response);
        self.with(|table| table.finish_answer(closed));
        self.counters.closed(ClosedBy::Answer, 1);
        self.changed.send_replace(());
        Ok(Answered {
            question_id: id,
            decision,
            principal,
        })
    }

    /// Keeps the CLI's stdin open while a question is open, so that its answer arrives.
    pub(crate) fn hold_stdin(&self) {
        let is_asking = self.with(|table| table.is_asking());
        self.gate.set_asking(is_asking);
    }

    /// Closes the open questions because the execution is being ended, and asks no more. An answer
    /// that is being written still counts.
    pub(crate) fn stop(&self, at: Timestamp) {
        let open = self.with(|table| table.end(at));
        if open > 0 {
            self.counters.closed(ClosedBy::End, open);
            self.changed.send_replace(());
        }
    }

    /// Closes all open questions at the end of the execution. Waits for an answer that is being
    /// written.
    pub(crate) async fn end(&self, at: Timestamp) {
        let _turn = self.answering.lock().await;
        self.stop(at);
    }

    /// Returns an open question with its whole input.
    pub(crate) fn find(&self, id: Uuid) -> Option<Question> {
        self.with(|table| table.find(id))
    }

    /// Returns how a question was closed. `None` if it is not closed, or not among the newest 64.
    pub(crate) fn closed(&self, id: Uuid) -> Option<ClosedQuestion> {
        self.with(|table| table.closed(id))
    }

    /// Returns the list for clients.
    pub(crate) fn list(&self) -> QuestionList {
        self.with(|table| table.list())
    }

    /// Returns the questions for the status, and the number of all open questions.
    pub(crate) fn for_status(&self) -> (Vec<OpenQuestion>, u64) {
        self.with(|table| table.for_status())
    }

    /// Writes how a question was closed. A failed write changes nothing for clients of a live
    /// execution. After its end, the question counts as closed by the end.
    fn record(&self, closed: ClosedQuestion) {
        self.counters.closed(closed.closed_by, 1);
        let line = Line::Closed {
            closed,
            answer: None,
        };
        if let Err(error) = self
            .entry
            .append_question_line(QuestionLine::Closed, &line.to_json())
        {
            tracing::warn!(
                execution = %self.entry.id(),
                %error,
                "could not write to the spool how a question was closed"
            );
        }
        self.changed.send_replace(());
    }

    /// Sends the CLI the answer to its prompt.
    fn respond(&self, request_id: &str, response: &Value) {
        self.gate.push(&success_line(request_id, response));
    }
}
