//! Asks the questions of an execution on the terminal, one at a time, in the order in which the CLI
//! asked them. Without a terminal it prints how to answer them.
//!
//! ```text
//! waiting --question--> shown --answer typed--> sending --confirmed--> the next question
//!                         |  \--closed by somebody else--> the next question
//!                         |            sending --refused--> shown again
//!                         \--left open--> the next question
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error};
use protocol::question::{Answered, ClosedBy, ClosedQuestion, Decision};
use protocol::rpc::code;
use protocol::{Answer, ExecutionId, Question};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::terminal::Terminal;
use crate::progress::Progress;
use crate::question::{Dialog, Reply, one_line};
use crate::whole_input;

/// The pause of the output after which the prompt is shown again.
const QUIET: Duration = Duration::from_millis(400);
/// The maximum number of questions that wait for their turn. An execution has fewer.
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
    /// When the prompt is shown again, after output has pushed it away.
    show_again: Option<Instant>,
}

/// Something that the asker waits for.
pub(super) enum Activity {
    /// The person typed a line, or the terminal is gone.
    Line(io::Result<String>),
    /// A question has its input, as far as that could be read.
    Read(Option<Question>),
    /// The bridge has answered an answer.
    Answered(Result<Answered, Error>),
    /// The output has paused, so that the prompt can be shown again.
    Quiet,
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
        }
    }

    /// Handles a question that the execution asks. A run yields each question once.
    pub(super) fn asked(
        &mut self,
        question: Question,
        client: &Arc<Client>,
        progress: &mut Progress,
    ) {
        let id = question.question_id;
        if self.terminal.is_none() {
            let text = format!(
                "{}\nanswer with: ccb answer {} {id} allow|deny",
                one_line(&question.tool, &question.title),
                self.execution
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

    /// Handles the end of a question, by whoever closed it. `closed` is `None` if that is unknown.
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
            progress.say(&how(closed));
            self.show_next(client, progress);
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
        let (dialog, text) = Dialog::new(question, self.waiting.len(), terminal.size());
        progress.say(&text);
        // What was typed before the question was shown is no answer to it.
        terminal.forget_input();
        progress.prompt(&dialog.prompt());
        self.dialog = Some(dialog);
        self.show_again = None;
    }

    /// Handles output that was written to the terminal, and may have pushed the prompt away.
    pub(super) fn output_written(&mut self, progress: &Progress) {
        if self.dialog.is_some() && self.sending.is_none() && progress.shares_terminal() {
            self.show_again = Some(Instant::now() + QUIET);
        }
    }

    /// Waits for something that needs [`Self::handle`]. Waits forever without a question.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Activity {
        if let Some(sending) = &mut self.sending {
            return Activity::Answered(sending.await.unwrap_or(Err(Error::Closed)));
        }
        if let Some((_, reading)) = &mut self.reading {
            return Activity::Read(reading.await.ok());
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
            line = terminal.line() => Activity::Line(line),
            () = quiet => Activity::Quiet,
        }
    }

    /// Handles what [`Self::next`] returned.
    pub(super) fn handle(
        &mut self,
        activity: Activity,
        client: &Arc<Client>,
        progress: &mut Progress,
    ) {
        match activity {
            Activity::Quiet => {
                self.show_again = None;
                self.show_prompt(progress);
            }
            Activity::Line(Ok(line)) => self.line(&line, client, progress),
            Activity::Line(Err(error)) => self.terminal_lost(&error, progress),
            Activity::Answered(result) => self.answered(result, client, progress),
            Activity::Read(question) => {
                self.reading = None;
                match question {
                    Some(question) => self.show(question, progress),
                    None => self.show_next(client, progress),
                }
            }
        }
    }

    fn show_prompt(&self, progress: &mut Progress) {
        if let Some(dialog) = &self.dialog {
            let question = dialog.question();
            let about = one_line(&question.tool, &question.title);
            progress.prompt(&format!("{about}\n{}", dialog.prompt()));
        }
    }

    fn line(&mut self, line: &str, client: &Arc<Client>, progress: &mut Progress) {
        let (Some(terminal), Some(dialog)) = (&self.terminal, &mut self.dialog) else {
            return;
        };
        progress.line_entered();
        match dialog.line(line, terminal.size()) {
            Reply::Again(text) => {
                if !text.is_empty() {
                    progress.say(&text);
                }
                progress.prompt(&dialog.prompt());
            }
            Reply::Answer(answer) => {
                let question = dialog.question().question_id;
                self.sending = Some(send(client, self.execution, question, answer));
            }
            Reply::LeaveOpen => {
                let id = dialog.question().question_id;
                self.dialog = None;
                progress.release();
                let text = format!("left open; ccb answer {} {id} allow|deny", self.execution);
                progress.note(&text);
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

/// Returns how a question was closed, for the person who was about to answer it.
fn how(closed: Option<&ClosedQuestion>) -> String {
    let Some(closed) = closed else {
        return "the question was closed meanwhile".to_owned();
    };
    match closed.closed_by {
        ClosedBy::Answer => {
            let decision = closed.decision.map_or("answered", Decision::as_str);
            let who = closed.principal.as_deref().unwrap_or("somebody");
            format!("{who} decided: {decision}")
        }
        ClosedBy::Timeout => "nobody answered in time; denied".to_owned(),
        ClosedBy::End => "the execution has ended".to_owned(),
        ClosedBy::Withdrawn => "the CLI needs no answer any more".to_owned(),
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
