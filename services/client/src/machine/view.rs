//! The state that a client keeps for one run (a view). It turns the messages about an execution
//! into the events of the run.

use bytes::Bytes;
use protocol::message::{Gap, JsonText, Output, Request, StatusUpdate};
use protocol::question::{ClosedQuestion, Question};
use protocol::rpc::OnSlow;
use protocol::{Reason, Status};
use tokio::sync::mpsc;

use super::open_questions::OpenQuestions;
use crate::Error;
use crate::event::{Event, Item};
use crate::output_tracker::{OutputCheck, OutputTracker};

/// The state that a client keeps for one [`Run`](crate::Run), across reconnects: the channel to the
/// run, how much output was received, and whether the bridge has accepted the request.
pub(crate) struct View {
    /// A number that identifies the run, also among several runs of the same execution.
    pub(crate) token: u64,
    pub(crate) tx: mpsc::Sender<Item>,
    pub(crate) output: OutputTracker,
    pub(crate) on_slow: OnSlow,
    /// Whether the bridge has answered the `execute` or `attach` without an error. After a
    /// reconnect, the client then attaches at the offset reached instead of repeating the request.
    pub(crate) accepted: bool,
    /// Whether the client has asked the bridge to stop the messages about this execution, because
    /// the run does not read its events. It attaches again when the run has read them.
    pub(crate) detached: bool,
    /// The questions that the run has yielded, and not their ends.
    pub(super) questions: OpenQuestions,
    /// The number of output bytes that the client dropped for a slow run with `onSlow: "skip"`.
    pub(crate) skipped: u64,
    /// The `execute` with `onDisconnect: "cancel"` that opened the view. Each further session needs
    /// it too, because the policy belongs to the session that sent it (docs/protocol.md, "When the
    /// client dies").
    renewal: Option<Request>,
    /// Whether the present session has not got `renewal` yet.
    renews: bool,
}

impl View {
    pub(crate) fn new(token: u64, tx: mpsc::Sender<Item>, offset: u64, on_slow: OnSlow) -> Self {
        Self {
            token,
            tx,
            output: OutputTracker::new(offset),
            on_slow,
            accepted: false,
            detached: false,
            questions: OpenQuestions::default(),
            skipped: 0,
            renewal: None,
            renews: false,
        }
    }

    /// Sets the request that each further session sends before it attaches.
    pub(crate) fn renewed_by(self, renewal: Option<Request>) -> Self {
        Self { renewal, ..self }
    }

    /// Handles a new session, which does not know the view's policy.
    pub(super) fn session_began(&mut self) {
        self.renews = self.accepted && self.renewal.is_some();
    }

    /// Returns the request that the present session needs before it attaches, once.
    pub(super) fn take_renewal(&mut self) -> Option<Request> {
        let renews = std::mem::take(&mut self.renews);
        self.renewal.clone().filter(|_| renews)
    }

    /// Handles the result of an `execute` or `attach`, which is a status object. Returns the event
    /// for the run, or `None` if the client has only attached again after the run was slow, which
    /// the run need not know. A result that is not a status is [`Error::Protocol`].
    pub(crate) fn answered(&mut self, result: &JsonText) -> Result<Option<Event>, Error> {
        let status: Box<Status> = result
            .read()
            .map_err(|e| Error::Protocol(format!("the answer is not a status: {e}")))?;
        let first = !std::mem::replace(&mut self.accepted, true);
        // A run does not see that the client detached it and attached it again.
        let was_detached = std::mem::take(&mut self.detached);
        self.questions.attached();
        Ok(match (first, was_detached) {
            (true, _) => Some(Event::Answer(status)),
            (false, true) => None,
            (false, false) => Some(Event::Reconnected),
        })
    }

    pub(crate) fn status(&mut self, update: Box<StatusUpdate>) -> Result<Option<Event>, Error> {
        let status = &update.status;
        if !status.state.is_terminal() {
            return Ok(Some(Event::Status(update)));
        }
        // claude-api no longer knows the execution, so the bridge does not know the length.
        let verdict = if status.reason == Some(Reason::Lost) {
            OutputCheck::Unknown
        } else {
            self.output
                .finish(status.output_bytes, status.crc32.as_deref())?
        };
        Ok(Some(Event::Terminal { update, verdict }))
    }

    pub(crate) fn output(&mut self, output: Output) -> Result<Option<Event>, Error> {
        let new = self
            .output
            .accept(output.offset, Bytes::from(output.content))?;
        let offset = self.output.reached() - new.len() as u64;
        Ok((!new.is_empty()).then_some(Event::Output { offset, bytes: new }))
    }

    /// Handles an announced question. `None` if the run knows it from before a reconnect.
    pub(crate) fn question(&mut self, question: Question) -> Option<Event> {
        let is_new = self.questions.asked(question.question_id);
        is_new.then(|| Event::Question(Box::new(question)))
    }

    /// Handles the end of a question. `None` if the run has not yielded the question, or has
    /// yielded its end.
    pub(crate) fn question_closed(&mut self, closed: ClosedQuestion) -> Option<Event> {
        let question_id = closed.question_id;
        let is_new = self.questions.closed(question_id);
        is_new.then(|| Event::QuestionClosed {
            question_id,
            closed: Some(Box::new(closed)),
        })
    }

    pub(crate) fn gap(&mut self, gap: Gap) -> Result<Option<Event>, Error> {
        Ok(self.output.gap(gap.from, gap.to)?.map(Event::Gap))
    }
}
