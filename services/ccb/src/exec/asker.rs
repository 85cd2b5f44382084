//! Asks the questions of an execution on the terminal, one at a time, in the order in which the CLI
//! asked them. Without a terminal it prints how to answer them.
//!
//! ```text
//! waiting --question--> shown --answer typed--> sending --confirmed--> the next question
//!                         |  \--closed by somebody else--> the next question, after a pause
//!                         |            sending --refused--> shown again
//!                         \--left open--> the next question
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error};
use protocol::question::{Answered, ClosedQuestion, Decision, QuestionKind};
use protocol::rpc::code;
use protocol::{Answer, ExecutionId, Question};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::terminal::Terminal;
use crate::progress::Progress;
use crate::question::{Dialog, LineEffect, describe_closing, one_line};
use crate::whole_input;

/// The pause of the output after which the input line is shown again.
const QUIET: Duration = Duration::from_millis(400);
/// The pause before the next question is shown when somebody else has closed the one on the
/// terminal: what the person is typing at that moment must not answer another question.
const AFTER_CLOSED: Duration = Duration::from_secs(1);
/// The maximum number of questions that wait to be shown. Further ones are not shown here and stay
/// open for others; an execution has at most 32 open.
const QUEUE_MAX: usize = 256;

/// The questions of one execution, and the dialog about the oldest of them.
pub(super) struct Asker {
    execution: ExecutionId,
    /// Whether the person chose to be asked (`--ask`).
    asks: bool,
    /// The terminal. `None` if there is none, or if it is gone.
    terminal: Option<Terminal>,
    waiting: VecDeque<Question>,
    dialog: Option<Dialog>,
    /// The question whose large input is being read, before it is shown.
    reading: Option<(Uuid, JoinHandle<Question>)>,
    sending: Option<JoinHandle<Result<Answered, Error>>>,
    /// The time at which the input line is shown again, after output has pushed it away.
    show_again: Option<Instant>,
    /// The time before which no question is shown ([`AFTER_CLOSED`]).
    not_before: Option<Instant>,
}

/// An event for which the asker waits.
pub(super) enum AskerEvent {
    /// The person typed a line, or the terminal is gone.
    Line(io::Result<String>),
    /// A question has its input, as far as that could be read.
    Read(Option<Question>),
    /// The bridge has replied to an answer.
    Answered(Result<Answered, Error>),
    /// The output has paused, so that the input line can be shown again.
    Quiet,
    /// The next question may be shown.
    Ready,
}

impl Asker {
    pub(super) fn new(execution: ExecutionId, asks: bool) -> Self {
        Self {
            execution,
            asks,
            terminal: if asks { Terminal::open() } else { None },
            waiting: VecDeque::new(),
            dialog: None,
            reading: None,
            sending: None,
            show_again: None,
            not_before: None,
        }
    }

    /// Handles a question that the execution asks. A run yields each question once.
    pub(super) fn asked(
        &mut self,
        question: Question,
        client: &Arc<Client>,
        progress: &mut Progress,
    ) {
        if self.terminal.is_none() {
            let text = format!(
                "{}\nanswer it with: {}",
                one_line(&question.tool, &question.title),
                answer_command(self.execution, &question)
            );
            match self.asks {
                true => progress.say(&text),
                false => progress.note(&text),
            }
            return;
        }
        if self.waiting.len() < QUEUE_MAX {
            self.waiting.push_back(question);
        }
        self.show_next(client, progress);
    }

    /// Handles a question that was closed. `closed` is `None` if the cause is unknown.
    pub(super) fn closed(
        &mut self,
        id: Uuid,
        closed: Option<&ClosedQuestion>,
        client: &Arc<Client>,
        progress: &mut Progress,
    ) {
        self.waiting.retain(|question| question.question_id != id);
        if let Some((_, reading)) = self.reading.take_if(|(reading, _)| *reading == id) {
            reading.abort();
            self.show_next(client, progress);
        }
        // The result of an answer that is being sent says more.
        if self.shown() == Some(id) && self.sending.is_none() {
            self.dialog = None;
            progress.release();
            progress.say(&match closed {
                Some(closed) => describe_closing(
                    closed.closed_by,
                    closed.decision,
                    closed.principal.as_deref(),
                ),
                None => "the question was closed meanwhile".to_owned(),
            });
            self.not_before = Some(Instant::now() + AFTER_CLOSED);
        }
    }

    /// Returns the id of the question that is shown.
    fn shown(&self) -> Option<Uuid> {
        Some(self.dialog.as_ref()?.question().question_id)
    }

    /// Shows the next question, unless one is shown already.
    fn show_next(&mut self, client: &Arc<Client>, progress: &mut Progress) {
        if self.terminal.is_none() || self.dialog.is_some() || self.reading.is_some() {
            return;
        }
        if self.not_before.is_some() {
            return;
        }
        let Some(question) = self.waiting.pop_front() else {
            progress.release();
            return;
        };
        if question.input.is_some() {
            self.show(question, progress);
            return;
        }
        let (client, execution) = (Arc::clone(client), self.execution);
        let id = question.question_id;
        let read = async move { whole_input::with_input(&client, execution, question).await };
        self.reading = Some((id, tokio::spawn(read)));
    }

    /// Shows a question, and waits for what the person types.
    fn show(&mut self, question: Question, progress: &mut Progress) {
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let (dialog, text) = Dialog::new(
            self.execution,
            question,
            self.waiting.len(),
            terminal.size(),
        );
        progress.say(&text);
        // Input typed before the question was shown is no answer to it.
        terminal.forget_input();
        progress.show_input_line(&dialog.input_line());
        self.dialog = Some(dialog);
        self.show_again = None;
    }

    /// Handles output that was written to the terminal, and may have pushed the input line away.
    pub(super) fn output_written(&mut self, progress: &Progress) {
        if self.dialog.is_some() && self.sending.is_none() && progress.shares_terminal() {
            self.show_again = Some(Instant::now() + QUIET);
        }
    }

    /// Waits for the next event for [`Self::handle`]. Waits forever without a question.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> AskerEvent {
        if let Some(sending) = &mut self.sending {
            return AskerEvent::Answered(sending.await.unwrap_or(Err(Error::Closed)));
        }
        if let Some((_, reading)) = &mut self.reading {
            return AskerEvent::Read(reading.await.ok());
        }
        if let Some(at) = self.not_before {
            tokio::time::sleep_until(at).await;
            return AskerEvent::Ready;
        }
        let (Some(terminal), Some(_)) = (&mut self.terminal, &self.dialog) else {
            return std::future::pending().await;
        };
        let show_again = self.show_again;
        let quiet = async {
            match show_again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = terminal.line() => AskerEvent::Line(line),
            () = quiet => AskerEvent::Quiet,
        }
    }

    /// Handles an event from [`Self::next`].
    pub(super) fn handle(
        &mut self,
        event: AskerEvent,
        client: &Arc<Client>,
        progress: &mut Progress,
    ) {
        match event {
            AskerEvent::Quiet => {
                self.show_again = None;
                self.show_input_line(progress);
            }
            AskerEvent::Ready => {
                self.not_before = None;
                self.show_next(client, progress);
            }
            AskerEvent::Line(Ok(line)) => self.line(&line, client, progress),
            AskerEvent::Line(Err(error)) => self.terminal_lost(&error, progress),
            AskerEvent::Answered(result) => self.answered(result, client, progress),
            AskerEvent::Read(question) => {
                self.reading = None;
                match question {
                    Some(question) => self.show(question, progress),
                    None => self.show_next(client, progress),
                }
            }
        }
    }

    fn show_input_line(&self, progress: &mut Progress) {
        if let Some(dialog) = &self.dialog {
            let question = dialog.question();
            let about = one_line(&question.tool, &question.title);
            progress.show_input_line(&format!("{about}\n{}", dialog.input_line()));
        }
    }

    fn line(&mut self, line: &str, client: &Arc<Client>, progress: &mut Progress) {
        let (Some(terminal), Some(dialog)) = (&self.terminal, &mut self.dialog) else {
            return;
        };
        progress.line_entered();
        match dialog.line(line, terminal.size()) {
            LineEffect::Again(text) => {
                if !text.is_empty() {
                    progress.say(&text);
                }
                progress.show_input_line(&dialog.input_line());
            }
            LineEffect::Answer(answer) => {
                let question = dialog.question().question_id;
                self.sending = Some(send(client, self.execution, question, answer));
            }
            LineEffect::LeaveOpen => {
                let command = answer_command(self.execution, dialog.question());
                self.dialog = None;
                progress.release();
                progress.note(&format!("left open; answer it later with: {command}"));
                self.show_next(client, progress);
            }
        }
    }

    fn answered(
        &mut self,
        result: Result<Answered, Error>,
        client: &Arc<Client>,
        progress: &mut Progress,
    ) {
        self.sending = None;
        let dialog = self.dialog.take();
        progress.release();
        match result {
            Ok(answered) => {
                progress.note(match answered.decision {
                    Decision::Allow => "allowed",
                    Decision::Deny => "denied",
                });
            }
            Err(error) => {
                progress.say(&super::explain(&error));
                if let Some(dialog) = dialog.filter(|_| may_answer_again(&error)) {
                    self.waiting.push_front(dialog.question().clone());
                }
            }
        }
        self.show_next(client, progress);
    }

    /// Handles a terminal that cannot be read any more. The open questions wait for others.
    fn terminal_lost(&mut self, error: &io::Error, progress: &mut Progress) {
        self.terminal = None;
        self.waiting.clear();
        self.dialog = None;
        progress.release();
        progress.say(&format!(
            "cannot read answers from the terminal: {error}; see the open questions with: ccb \
             questions {}",
            self.execution
        ));
    }
}

/// Returns the command that answers a question, with a remark for a person about the decision.
fn answer_command(execution: ExecutionId, question: &Question) -> String {
    let id = question.question_id;
    match question.kind {
        QuestionKind::Choice => format!("ccb answer {execution} {id} allow --choice 1=ANSWER"),
        QuestionKind::Permission | QuestionKind::Plan => {
            format!("ccb answer {execution} {id} allow (or deny)")
        }
    }
}

/// Sends an answer from a task of its own, so that output is still read meanwhile.
fn send(
    client: &Arc<Client>,
    execution: ExecutionId,
    question: Uuid,
    answer: Answer,
) -> JoinHandle<Result<Answered, Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.answer(execution, question, answer).await })
}

/// Returns whether another answer to the same question may succeed after this error.
fn may_answer_again(error: &Error) -> bool {
    match error {
        Error::Rpc(error) => !matches!(
            error.code,
            code::WRONG_STATE | code::NO_SUCH_EXECUTION | code::METHOD_NOT_FOUND
        ),
        Error::NoAnswer(_) | Error::TooLarge { .. } => true,
        _ => false,
    }
}
