//! Decides in which order a view sends its messages to the client (docs/protocol.md, "Order"). It
//! is a pure state machine: statuses, notices, questions and bytes go in, messages come out.
//!
//! ```text
//! one status with the state of the answer (omitted if terminal)
//!   -> statuses, questions and their ends, notices, output, gaps
//!   -> (terminal status known, every byte up to its outputBytes sent, every announced question
//!       closed) -> terminal status -> done
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;
use protocol::message::{Gap, Notice, Notification, Output, StatusUpdate, StatusWord, Upstream};
use protocol::question::QuestionList;
use protocol::trailers::crc32_text;
use protocol::{Reason, State, Status};
use serde_json::{Value, json};

use super::buffer::{Buffer, Piece, Skip};
use super::elapsed::elapsed_ms;
use super::notices::{self, notice};
use super::questions::Questions;

/// The most unsent statuses of a view. Of consecutive statuses with the same state only the newest
/// is kept. Beyond the limit the second oldest is dropped, because the oldest has the state of the
/// answer.
const STATUSES: usize = 4;
/// The most unsent notices of a view. Further ones are dropped. A status lists at most 64 warnings
/// and 50 denials, so only a client that reads nothing for long reaches this limit.
const NOTICES: usize = 128;

/// The memory in bytes that an open stream from claude-api needs in addition, for bytes that were
/// received but not read yet.
const READ_AHEAD_BYTES: usize = 32 * 1024;

/// Returns the approximate memory of an unsent status, in bytes.
fn weight(status: &Status) -> usize {
    const ITEM_BYTES: usize = 256;
    let lists = status.warnings.len() + status.permission_denials.len() + status.questions.len();
    let items = lists + status.metadata.len();
    1024 + status.stderr_tail.len() + items * ITEM_BYTES
}

/// A status of the execution that was not sent to the client yet.
#[derive(Debug)]
struct UnsentStatus {
    /// The state that the client sees. It is `RESUMED` instead of the first `RUNNING` after a
    /// pause.
    word: StatusWord,
    /// Whether claude-api could not be reached, so that the status may be old. The client sees this
    /// as well.
    is_unreachable: bool,
    status: Status,
}

/// The unsent messages of one view. They are sent in the order of the module's diagram.
#[derive(Debug)]
pub struct Order {
    /// The newest status that claude-api has sent.
    newest: Status,
    /// The newest status before the end of the execution, which heartbeats repeat; `None` if there
    /// was none.
    live: Option<Status>,
    /// Statuses that are sent before any notice or output.
    unsent_statuses: VecDeque<UnsentStatus>,
    /// Unsent notices, as JSON text.
    notices: VecDeque<String>,
    /// The questions that the client knows, and unsent messages about them.
    questions: Questions,
    /// Unsent output.
    buffer: Buffer,
    /// The terminal status, which is sent after all output and the ends of all questions; `None`
    /// while the execution has not ended.
    terminal: Option<Status>,
    /// Whether claude-api no longer has the execution although no terminal status was received.
    /// Later bytes are ignored.
    is_lost: bool,
    /// Whether the last attempt to reach claude-api failed.
    is_unreachable: bool,
    /// Whether the received output was compared with the length and the CRC-32 in the terminal
    /// status.
    is_checked: bool,
    /// Whether the terminal status was sent, so that no message follows.
    is_done: bool,
    /// The longest status object in a message, in bytes. A longer one is shortened.
    status_bytes: usize,
    /// The last `elapsedMs` that was sent, in milliseconds. It never decreases.
    elapsed_ms: u64,
    /// The number of gap messages so far, for `/metrics`.
    gaps: u64,
}

impl Order {
    /// Creates the messages of a view that begins with `status`, which the client has received in
    /// the answer. The output begins at `offset`. Without an offset it begins at 0, with a gap if
    /// claude-api no longer has byte 0. `skip` has the limits of a view with `onSlow: skip`; `None`
    /// for `wait`. `status_bytes` is the longest status object in a message.
    #[must_use]
    pub fn new(
        status: Status,
        offset: Option<u64>,
        skip: Option<Skip>,
        status_bytes: usize,
    ) -> Self {
        let mut buffer = Buffer::new(offset.unwrap_or(0), status.kept_from, skip);
        if offset.is_none() {
            buffer.freed(status.kept_from);
        }
        let mut order = Self {
            newest: status.clone(),
            live: None,
            unsent_statuses: VecDeque::new(),
            notices: VecDeque::new(),
            questions: Questions::new(&status),
            buffer,
            terminal: None,
            is_lost: false,
            is_unreachable: false,
            is_checked: false,
            is_done: false,
            status_bytes,
            elapsed_ms: 0,
            gaps: 0,
        };
        if status.state.is_terminal() {
            order.terminal = Some(status);
        } else {
            let word = StatusWord::State(status.state);
            order.live = Some(status.clone());
            order.unsent_statuses.push_back(UnsentStatus {
                word,
                is_unreachable: false,
                status,
            });
        }
        order
    }

    /// Returns the newest status that claude-api has sent.
    #[must_use]
    pub fn newest_status(&self) -> &Status {
        &self.newest
    }

    /// Returns true if the execution has ended. Its terminal status may not be sent yet.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Returns true if the terminal status was sent, which is the last message of the view.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns the offset from which the next bytes of output must be read from claude-api.
    #[must_use]
    pub fn read_from(&self) -> u64 {
        self.buffer.read_from()
    }

    /// Returns true if the view should read more output: its buffer has room, and claude-api still
    /// has the execution.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        !self.is_done && !self.is_lost && self.buffer.wants_bytes()
    }

    /// Returns true if claude-api has output that was not read, or may have. It is certain once the
    /// execution has ended, and assumed while it runs.
    #[must_use]
    pub fn has_more_upstream(&self) -> bool {
        match &self.terminal {
            Some(end) => self.read_from() < end.output_bytes,
            None => {
                self.newest.state != State::Queued || self.read_from() < self.newest.output_bytes
            }
        }
    }

    /// Returns the questions of the view, to fetch their list if it is needed.
    pub fn questions(&mut self) -> &mut Questions {
        &mut self.questions
    }

    /// Returns the memory that the unsent messages of the view need, in bytes. It counts output
    /// with the stream's read-ahead, notices, questions and statuses.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let output = match self.buffer.held() {
            0 => 0,
            bytes if self.buffer.has_piece(self.is_read()) => bytes + READ_AHEAD_BYTES,
            // A part of a character cannot be sent before more bytes are read.
            bytes => bytes,
        };
        let notices: usize = self.notices.iter().map(String::len).sum();
        let statuses = self.unsent_statuses.iter();
        let statuses: usize = statuses.map(|unsent| weight(&unsent.status)).sum();
        output + notices + self.questions.held_bytes() + statuses
    }

    /// Drops the oldest unsent output beyond 32 KiB, because the session has used up its memory.
    /// Does nothing for a view with `onSlow: wait`, which loses no output.
    pub fn shrink(&mut self) {
        self.buffer.shrink();
    }

    /// Returns how many bytes of output were dropped so far because the client read too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.buffer.dropped()
    }

    /// Handles the first status after a (re)connect to claude-api. It is sent to the client only if
    /// it differs from the newest known one, or if claude-api was unreachable. A reconnect alone is
    /// not reported.
    pub fn on_first_status(&mut self, status: Status) {
        let known = Status {
            output_bytes: self.newest.output_bytes,
            queue_position: self.newest.queue_position,
            duration_ms: self.newest.duration_ms,
            ..status.clone()
        };
        if known == self.newest && !self.is_unreachable {
            self.questions.on_status(&status);
            self.live = Some(status.clone());
            self.newest = status;
        } else {
            self.on_status(status);
        }
    }

    /// Handles a new status from claude-api. Queues it, with notices for what has changed. A
    /// terminal status is kept until all output is sent. Ignored after a terminal status.
    pub fn on_status(&mut self, status: Status) {
        if self.terminal.is_some() {
            return;
        }
        self.is_unreachable = false;
        self.questions.on_status(&status);
        for notice in notices::for_change(&self.newest, &status) {
            self.notify(&notice);
        }
        let old = std::mem::replace(&mut self.newest, status);
        if self.newest.state.is_terminal() {
            self.terminal = Some(self.newest.clone());
            return;
        }
        let word = if old.state == State::Paused && self.newest.state == State::Running {
            StatusWord::Resumed
        } else {
            StatusWord::State(self.newest.state)
        };
        self.live = Some(self.newest.clone());
        self.queue_status(word);
    }

    /// Queues the newest status before the end with this word. It replaces the last queued status
    /// if that has the same word.
    fn queue_status(&mut self, word: StatusWord) {
        let Some(status) = self.live.clone() else {
            return;
        };
        let running = StatusWord::State(State::Running);
        let mut unsent = UnsentStatus {
            word,
            is_unreachable: self.is_unreachable,
            status,
        };
        match self.unsent_statuses.back_mut() {
            Some(last) if last.word == word => *last = unsent,
            // A heartbeat after an unsent RESUMED has no new state.
            Some(last) if last.word == StatusWord::Resumed && word == running => {
                unsent.word = StatusWord::Resumed;
                *last = unsent;
            }
            _ => {
                if self.unsent_statuses.len() == STATUSES {
                    // Not the front, because the first status has the state of the answer.
                    self.unsent_statuses.remove(1);
                }
                self.unsent_statuses.push_back(unsent);
            }
        }
    }

    /// Queues a notice. Drops it if 128 notices are unsent.
    fn notify(&mut self, notice: &Notice) {
        if self.notices.len() < NOTICES {
            self.notices.push_back(notice.to_message());
        }
    }

    /// Handles that claude-api cannot be reached. Queues one notice, and repeats the last status at
    /// each heartbeat, until claude-api answers again. After the end of the execution, does so only
    /// while bytes of output or ends of questions are missing.
    pub fn on_unreachable(&mut self) {
        if self.is_done || self.is_unreachable || self.is_complete() {
            return;
        }
        self.is_unreachable = true;
        let notice = notice(
            Some(self.newest.execution_id),
            "upstream_unreachable",
            "claude-api cannot be reached; the bridge keeps trying",
            Value::Null,
        );
        self.notify(&notice);
        self.on_heartbeat();
    }

    /// Returns true if the last attempt to reach claude-api failed.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }

    /// Queues the last status again, because none was sent for more than a heartbeat. It shows the
    /// client that its connection and the bridge still work. After the end of the execution, a
    /// status is repeated only while claude-api is unreachable and bytes of output or ends of
    /// questions are missing.
    pub fn on_heartbeat(&mut self) {
        let is_unneeded = !self.is_unreachable || self.is_complete();
        if self.is_done || (self.terminal.is_some() && is_unneeded) {
            return;
        }
        if let Some(live) = &self.live {
            self.queue_status(StatusWord::State(live.state));
        }
    }

    /// Handles that claude-api no longer has the execution. If it has ended, the client gets a gap
    /// for the missing bytes. Otherwise the execution counts as ended at `now`, in the state
    /// interrupted with the reason `lost`.
    pub fn on_gone(&mut self, now: Timestamp) {
        self.questions.on_gone(now);
        if let Some(end) = &self.terminal {
            self.buffer.freed(end.output_bytes);
            return;
        }
        self.is_lost = true;
        self.buffer.close();
        let mut lost = self.newest.clone();
        lost.state = State::Interrupted;
        lost.reason = Some(Reason::Lost);
        lost.exit_code = None;
        lost.activity = None;
        let begun = lost.started_at.unwrap_or(lost.created_at);
        lost.ended_at.get_or_insert(now.max(begun));
        lost.output_bytes = self.buffer.read_from();
        lost.crc32 = self.buffer.crc32().map(crc32_text);
        lost.sha256 = None;
        self.newest = lost.clone();
        self.terminal = Some(lost);
    }

    /// Handles output that was read at the offset [`Self::read_from`]. Ignored if the execution was
    /// lost.
    pub fn on_bytes(&mut self, bytes: &Bytes) {
        if self.is_lost {
            return;
        }
        self.buffer.push(bytes);
        if self.terminal.is_some() {
            // Until the terminal status, only a status shows that claude-api can be reached.
            self.is_unreachable = false;
        }
    }

    /// Handles a list of the execution's questions, which was fetched at `now`.
    pub fn on_questions(&mut self, list: QuestionList, now: Timestamp) {
        self.questions.on_list(list, now);
        if self.terminal.is_some() {
            // Until the terminal status, only a status shows that claude-api can be reached.
            self.is_unreachable = false;
        }
    }

    /// Handles that claude-api has deleted all output before the offset `kept`. The client gets a
    /// gap for the bytes that were not read yet.
    pub fn on_freed(&mut self, kept: u64) {
        self.buffer.freed(kept);
    }

    /// Returns true if the execution has ended and all of its output was read.
    fn is_read(&self) -> bool {
        self.terminal
            .as_ref()
            .is_some_and(|end| self.buffer.read_from() >= end.output_bytes)
    }

    /// Returns true if nothing but the terminal status and unsent messages is missing: the
    /// execution has ended, all of its output was read, and the ends of its questions are known.
    fn is_complete(&self) -> bool {
        self.is_read() && self.questions.are_settled()
    }

    /// Returns true if the next message is a status. Statuses are sent before all other messages.
    #[must_use]
    pub fn is_status_next(&self) -> bool {
        !self.unsent_statuses.is_empty()
    }

    /// Returns true if [`Self::next`] would return a message now.
    #[must_use]
    pub fn has_message(&self) -> bool {
        !self.is_done
            && (!self.notices.is_empty()
                || !self.unsent_statuses.is_empty()
                || self.questions.have_message()
                || self.buffer.has_piece(self.is_read())
                || self.is_complete())
    }

    /// Returns the number of gap messages so far.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Removes and returns the next message to send, as JSON text. Returns `None` if there is none
    /// yet, or if the terminal status was sent. `now` is the time up to which `elapsedMs` is
    /// counted.
    pub fn next(&mut self, now: Timestamp) -> Option<String> {
        if self.is_done {
            return None;
        }
        let limit = self.status_bytes;
        if let Some(unsent) = self.unsent_statuses.pop_front() {
            let UnsentStatus {
                word,
                is_unreachable,
                status,
            } = unsent;
            let elapsed = self.elapsed(&status, now);
            let update = StatusUpdate {
                word,
                elapsed_ms: elapsed,
                upstream: is_unreachable.then_some(Upstream::Unreachable),
                status: &status,
            };
            return Some(update.to_message_within(limit));
        }
        if let Some(question) = self.questions.take() {
            return Some(question);
        }
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice);
        }
        let id = self.newest.execution_id;
        match self.buffer.take(self.is_read()) {
            Some(Piece::Text(offset, text)) => {
                return Some(Output::new(id, offset, &*text).to_message());
            }
            Some(Piece::Gap(from, to)) => {
                self.gaps += 1;
                return Some(
                    Gap {
                        execution_id: id,
                        from,
                        to,
                    }
                    .to_message(),
                );
            }
            None => {}
        }
        if !self.is_complete() {
            return None;
        }
        let end = self.terminal.clone()?;
        if let Some(text) = self.mismatch(&end) {
            return Some(text);
        }
        self.is_done = true;
        let update = StatusUpdate {
            word: StatusWord::State(end.state),
            elapsed_ms: self.elapsed(&end, now),
            upstream: None,
            status: &end,
        };
        Some(update.to_message_within(limit))
    }

    /// Returns the `elapsedMs` of a status, which never decreases. A heartbeat may be sent between
    /// the end of the execution and its terminal status, and clocks may be set back.
    fn elapsed(&mut self, status: &Status, now: Timestamp) -> u64 {
        self.elapsed_ms = self.elapsed_ms.max(elapsed_ms(status, now));
        self.elapsed_ms
    }

    /// Compares the received output with the length and the CRC-32 in the terminal status. If they
    /// differ, logs an error and returns a notice for the client as JSON text. Returns `None` if
    /// they match, if the client did not get the whole output, or if the comparison was made
    /// before.
    fn mismatch(&mut self, end: &Status) -> Option<String> {
        if std::mem::replace(&mut self.is_checked, true) {
            return None;
        }
        let crc32 = self.buffer.crc32().map(crc32_text)?;
        let length = self.buffer.read_from();
        let same_crc = end.crc32.as_ref().is_none_or(|crc| *crc == crc32);
        if same_crc && length == end.output_bytes {
            return None;
        }
        tracing::error!(
            execution = %end.execution_id,
            expected = ?end.crc32,
            got = %crc32,
            length,
            output_bytes = end.output_bytes,
            "the output does not match the length or the crc32 in its terminal status"
        );
        let data = json!({
            "expected": end.crc32, "got": crc32, "length": length, "outputBytes": end.output_bytes,
        });
        let notice = notice(
            Some(end.execution_id),
            "output_mismatch",
            "the output does not match the length or the crc32 in its terminal status; attach \
             again from 0",
            data,
        );
        Some(notice.to_message())
    }
}

#[cfg(test)]
mod tests;
