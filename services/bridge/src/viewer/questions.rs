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
//!    |                                                                    |
//!    +- cut <-- on_list, without room for all questions ------------------+
//! ```
//!
//! From cut, the next list is fetched when the unsent questions are sent.
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

/// The state of the list of questions that the view knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListState {
    /// No status shows other questions than the last list.
    Current,
    /// The last list had questions for which [`UNSENT_BYTES`] left no room.
    Cut,
    /// A status shows other questions than the last list.
    Stale,
    /// A list is being fetched.
    Fetching {
        /// Whether a status since then shows other questions.
        is_stale: bool,
    },
}

impl ListState {
    /// Returns the state after a status that shows other questions, or no longer does.
    fn after_status(self, is_stale: bool) -> Self {
        match self {
            Self::Fetching { .. } => Self::Fetching { is_stale },
            _ if is_stale => Self::Stale,
            _ => Self::Current,
        }
    }

    fn is_stale(self) -> bool {
        matches!(self, Self::Stale | Self::Fetching { is_stale: true })
    }
}

/// The questions of one view: those that its client must learn, and those that it knows.
#[derive(Debug)]
pub struct Questions {
    execution: ExecutionId,
    /// The questions in the newest status.
    shown: Shown,
    /// The state of the list from which questions are announced.
    list: ListState,
    /// The questions whose `question` was sent, without those that are known to be closed. A client
    /// is sent at most as many as can be open at the same time.
    announced: Vec<Uuid>,
    /// Unsent `question` messages, oldest first.
    unsent: VecDeque<Unsent>,
    /// Unsent `questionClosed` messages as JSON text, oldest first. At most one for each announced
    /// question, so at most 32 with 400 bytes each.
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
            list: ListState::Current,
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
            self.list = self.list.after_status(!self.announced.is_empty());
            return;
        }
        let shown = Shown::of(status);
        // A change of hidden questions is not visible, so they may change with every status.
        if shown != self.shown || shown.has_hidden() {
            let is_stale = shown.open > 0 || !self.announced.is_empty();
            self.list = self.list.after_status(is_stale);
        }
        self.unsent.retain(|unsent| shown.may_include(unsent.id));
        self.shown = shown;
    }

    /// Returns whether a list must be fetched now. False while one is being fetched, so there is at
    /// most one request at a time.
    #[must_use]
    pub fn needs_list(&self) -> bool {
        match self.list {
            ListState::Stale => true,
            ListState::Cut => self.unsent.is_empty(),
            ListState::Current | ListState::Fetching { .. } => false,
        }
    }

    /// Records that a list is being fetched. Returns the questions that the client knows or is
    /// about to know. The fetched list must say of each that it is open, or how it was closed.
    pub fn begin_fetch(&mut self) -> Vec<Uuid> {
        self.list = ListState::Fetching { is_stale: false };
        self.announced
            .iter()
            .copied()
            .chain(self.unsent.iter().map(|unsent| unsent.id))
            .collect()
    }

    /// Handles the list that was fetched at `now`. Queues how announced questions were closed, and
    /// the questions that the client does not know.
    pub fn on_list(&mut self, list: QuestionList, now: Timestamp) {
        let QuestionList { open, closed } = list;
        let is_stale = self.list.is_stale();
        self.list = match is_stale {
            true => ListState::Stale,
            false => ListState::Current,
        };
        // A list that was fetched before the end may show questions that are closed now.
        let is_final = self.has_ended && !is_stale;
        for id in std::mem::take(&mut self.announced) {
            match closed.iter().find(|closed| closed.question_id == id) {
                Some(closed) => self.close(closed.clone()),
                None if is_final => self.close(closed_by_end(id, now)),
                None => self.announced.push(id),
            }
        }
        if self.has_ended {
            return;
        }
        self.unsent
            .retain(|unsent| open.iter().any(|q| q.question_id == unsent.id));
        for question in open {
            if !self.announce(question) {
                if !is_stale {
                    self.list = ListState::Cut;
                }
                return;
            }
        }
    }

    /// Queues the `question` of an open question, unless the client knows it or no status shows it
    /// yet. Returns false if [`UNSENT_BYTES`] leaves no room.
    fn announce(&mut self, question: Question) -> bool {
        let id = question.question_id;
        let is_known =
            self.announced.contains(&id) || self.unsent.iter().any(|unsent| unsent.id == id);
        if is_known || !self.shown.may_include(id) {
            return true;
        }
        let asked = QuestionAsked {
            execution_id: self.execution,
            question,
        };
        let text = asked.to_message();
        if !self.unsent.is_empty() && self.unsent_bytes() + text.len() > UNSENT_BYTES {
            return false;
        }
        self.unsent.push_back(Unsent { id, text });
        true
    }

    /// Handles that no list can be fetched any more, because claude-api no longer has the execution
    /// or refuses the request after its end. The announced questions count as closed by the end at
    /// `now`.
    pub fn on_gone(&mut self, now: Timestamp) {
        self.has_ended = true;
        self.list = ListState::Current;
        self.unsent.clear();
        for id in std::mem::take(&mut self.announced) {
            self.close(closed_by_end(id, now));
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

    /// Returns true if no announced question is open: each `questionClosed` was sent or is queued.
    /// Only then may the terminal status be sent.
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

/// Returns how a question was closed that nothing but the end of its execution has closed.
fn closed_by_end(question_id: Uuid, closed_at: Timestamp) -> ClosedQuestion {
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
