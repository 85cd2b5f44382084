//! The questions of one view as a pure state machine: statuses and lists of questions go in, the
//! notifications `question` and `questionClosed` come out (docs/protocol.md, "Questions").
//!
//! A status only shows that the questions have changed. The list of questions has their inputs, and
//! how they were closed. So a change in the status makes the known list stale, and the view fetches
//! a new one.
//!
//! ```text
//! current --a status shows other questions--> stale --begin_fetch--> fetching
//!    ^                                          ^                      |  |
//!    |                                          +--a status meanwhile--+  |
//!    +---------------------------- on_list -------------------------------+
//! ```
//!
//! The life of one question in the view:
//!
//! ```text
//! open in a list, and in the status --> unsent --take--> announced --closed in a list--> closed
//!                                         |
//!                                         +--closed, or the execution has ended--> forgotten
//! ```
//!
//! - A question is announced after the status that shows it, and at most once.
//! - An announced question is closed once, and before the terminal status.
//! - A slow client gets only questions that are still open, because a newer list or status removes
//!   the others from the unsent ones.

use std::collections::VecDeque;

use jiff::Timestamp;
use protocol::message::Notification;
use protocol::question::{
    ClosedBy, ClosedQuestion, Question, QuestionAsked, QuestionClosed, QuestionList,
};
use protocol::{ExecutionId, Status};
use uuid::Uuid;

/// The most unsent bytes of `question` messages (64 KiB). One message may be longer. Questions that
/// do not fit are fetched again when the others are sent.
const UNSENT_BYTES: usize = 64 * 1024;

/// A `question` message that was not sent yet.
#[derive(Debug)]
struct Unsent {
    id: Uuid,
    /// The message as JSON text.
    text: String,
}

/// The questions that the newest status shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    /// The listed questions, which are the oldest ones.
    ids: Vec<Uuid>,
    /// The number of all open questions.
    open: u64,
}

impl Shown {
    fn of(status: &Status) -> Self {
        Self {
            ids: status.questions.iter().map(|q| q.question_id).collect(),
            open: status.questions_open,
        }
    }

    /// Returns whether questions are open that the status does not list.
    fn has_hidden(&self) -> bool {
        self.open > self.ids.len() as u64
    }

    /// Returns whether this question may be open. It certainly is if the status lists it.
    fn may_include(&self, id: Uuid) -> bool {
        self.has_hidden() || self.ids.contains(&id)
    }
}

/// The questions of one view. The module has the states.
#[derive(Debug)]
pub struct Questions {
    execution: ExecutionId,
    /// The questions in the newest status.
    shown: Shown,
    /// Whether the list must be fetched, because a status shows other questions.
    is_stale: bool,
    /// Whether the last list had questions for which [`UNSENT_BYTES`] left no room.
    is_cut: bool,
    /// Whether a list is being fetched.
    is_fetching: bool,
    /// The questions whose `question` was sent, without those that are known to be closed. A client
    /// is sent at most as many as can be open at the same time.
    announced: Vec<Uuid>,
    /// Unsent `question` messages, oldest first.
    unsent: VecDeque<Unsent>,
    /// Unsent `questionClosed` messages as JSON text, oldest first. Each is about a question that
    /// was announced.
    unsent_closed: VecDeque<String>,
    /// Whether the execution has ended, so that no question is open.
    has_ended: bool,
}

impl Questions {
    /// Creates the questions of a view that begins with this status. None is announced.
    #[must_use]
    pub fn new(status: &Status) -> Self {
        let mut questions = Self {
            execution: status.execution_id,
            shown: Shown::default(),
            is_stale: false,
            is_cut: false,
            is_fetching: false,
            announced: Vec::new(),
            unsent: VecDeque::new(),
            unsent_closed: VecDeque::new(),
            has_ended: false,
        };
        questions.on_status(status);
        questions
    }

    /// Handles a status of the execution. Nothing is announced after a terminal one.
    pub fn on_status(&mut self, status: &Status) {
        if self.has_ended {
            return;
        }
        if status.state.is_terminal() {
            self.has_ended = true;
            self.unsent.clear();
            self.is_cut = false;
            self.is_stale = !self.announced.is_empty();
            return;
        }
        let shown = Shown::of(status);
        // A change of hidden questions is not visible, so they may change with every status.
        if shown != self.shown || shown.has_hidden() {
            self.is_stale = shown.open > 0 || !self.announced.is_empty();
        }
        self.unsent.retain(|unsent| shown.may_include(unsent.id));
        self.shown = shown;
    }

    /// Returns whether a list must be fetched now. False while one is being fetched, so there is at
    /// most one request at a time.
    #[must_use]
    pub fn needs_list(&self) -> bool {
        !self.is_fetching && (self.is_stale || (self.is_cut && self.unsent.is_empty()))
    }

    /// Records that a list is being fetched. Returns the questions whose end the client must be
    /// told. The fetched list must say of each that it is open or how it was closed.
    pub fn begin_fetch(&mut self) -> Vec<Uuid> {
        self.is_fetching = true;
        self.is_stale = false;
        self.announced
            .iter()
            .copied()
            .chain(self.unsent.iter().map(|unsent| unsent.id))
            .collect()
    }

    /// Handles the list that was fetched at `now`. Queues the ends of announced questions, and the
    /// questions that the client does not know.
    pub fn on_list(&mut self, list: QuestionList, now: Timestamp) {
        let QuestionList { open, closed } = list;
        self.is_fetching = false;
        self.is_cut = false;
        // A list that was fetched before the end may show questions that are closed now.
        let is_final = self.has_ended && !self.is_stale;
        for id in std::mem::take(&mut self.announced) {
            match closed.iter().find(|closed| closed.question_id == id) {
                Some(closed) => self.close(closed.clone()),
                None if is_final => self.close(ended(id, now)),
                None => self.announced.push(id),
            }
        }
        if self.has_ended {
            return;
        }
        self.unsent
            .retain(|unsent| open.iter().any(|q| q.question_id == unsent.id));
        for question in open {
            self.announce(question);
            if self.is_cut {
                return;
            }
        }
    }

    /// Queues the `question` of an open question, unless the client knows it or no status shows it
    /// yet.
    fn announce(&mut self, question: Question) {
        let id = question.question_id;
        let is_known =
            self.announced.contains(&id) || self.unsent.iter().any(|unsent| unsent.id == id);
        if is_known || !self.shown.may_include(id) {
            return;
        }
        let asked = QuestionAsked {
            execution_id: self.execution,
            question,
        };
        let text = asked.to_message();
        if !self.unsent.is_empty() && self.unsent_bytes() + text.len() > UNSENT_BYTES {
            self.is_cut = true;
            return;
        }
        self.unsent.push_back(Unsent { id, text });
    }

    /// Handles that no list can be fetched any more, because claude-api no longer has the execution
    /// or refuses the request after its end. The announced questions count as closed by the end at
    /// `now`.
    pub fn on_gone(&mut self, now: Timestamp) {
        self.has_ended = true;
        self.is_stale = false;
        self.is_cut = false;
        self.is_fetching = false;
        self.unsent.clear();
        for id in std::mem::take(&mut self.announced) {
            self.close(ended(id, now));
        }
    }

    /// Queues the `questionClosed` of a question that was announced.
    fn close(&mut self, closed: ClosedQuestion) {
        let closed = QuestionClosed {
            execution_id: self.execution,
            closed,
        };
        self.unsent_closed.push_back(closed.to_message());
    }

    /// Returns true if the client knows the end of every question that was announced to it, or the
    /// end is queued. Only then may the terminal status be sent.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        self.announced.is_empty()
    }

    /// Returns true if [`Self::take`] would return a message now.
    #[must_use]
    pub fn have_message(&self) -> bool {
        !self.unsent_closed.is_empty() || !self.unsent.is_empty()
    }

    /// Removes and returns the next message to send, as JSON text. `None` if there is none.
    pub fn take(&mut self) -> Option<String> {
        if let Some(closed) = self.unsent_closed.pop_front() {
            return Some(closed);
        }
        let Unsent { id, text } = self.unsent.pop_front()?;
        self.announced.push(id);
        Some(text)
    }

    /// Returns the memory of the unsent messages, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let closed: usize = self.unsent_closed.iter().map(String::len).sum();
        self.unsent_bytes() + closed
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.iter().map(|unsent| unsent.text.len()).sum()
    }
}

/// Returns the end of a question that nothing but the end of its execution has closed.
fn ended(question_id: Uuid, closed_at: Timestamp) -> ClosedQuestion {
    ClosedQuestion {
        question_id,
        closed_by: ClosedBy::End,
        decision: None,
        principal: None,
        closed_at,
    }
}

#[cfg(test)]
mod tests;
