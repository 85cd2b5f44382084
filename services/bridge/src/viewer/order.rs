//! The order of the messages of one view (docs/protocol.md, "Order"), as a pure machine: statuses,
//! notices and bytes in, messages out.
//!
//! ```text
//! one status with the state of the answer (left out if terminal)
//!   -> statuses, notices, output, gaps
//!   -> (terminal known and every byte up to its outputBytes sent) -> terminal -> nothing more
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;
use protocol::message::{Gap, Notice, Notification, Output, StatusUpdate, StatusWord, Upstream};
use protocol::trailers::crc32_text;
use protocol::{Reason, State, Status};
use serde_json::{Value, json};

use super::buffer::{Buffer, Piece, Skip};
use super::elapsed::elapsed_ms;
use super::notices::{self, notice};

/// The most unsent statuses. They differ in their state: of each state only the newest is kept.
const STATUSES: usize = 4;
/// The most unsent notices. A status lists at most 64 warnings and 50 denials, so only a viewer
/// that reads nothing for long reaches this limit.
const NOTICES: usize = 128;

/// Bytes that the stream from claude-api reads ahead of a client that does not read.
const READ_AHEAD_BYTES: usize = 32 * 1024;

/// Returns the approximate size of a status in memory, in bytes.
fn weight(status: &Status) -> usize {
    const ITEM_BYTES: usize = 256;
    let items = status.warnings.len() + status.permission_denials.len() + status.metadata.len();
    1024 + status.stderr_tail.len() + items * ITEM_BYTES
}

/// The order of one view: see the module's diagram.
#[derive(Debug)]
pub struct Order {
    /// The newest status known.
    seen: Status,
    /// The newest status that is not terminal.
    live: Option<Status>,
    /// Unsent statuses, each with its word (RESUMED once in place of RUNNING) and whether
    /// claude-api could not be reached.
    statuses: VecDeque<(StatusWord, bool, Status)>,
    /// Unsent notices as messages.
    notices: VecDeque<String>,
    buffer: Buffer,
    /// The terminal status, once known.
    terminal: Option<Status>,
    /// Whether claude-api does not know the execution any more: later bytes and statuses are
    /// ignored.
    lost: bool,
    /// Whether claude-api could not be reached when it was last tried.
    unreachable: bool,
    /// Whether the output was compared with the terminal status.
    checked: bool,
    /// Whether the last message was sent.
    done: bool,
    /// The most bytes of a status object.
    status_bytes: usize,
    /// The last `elapsedMs` that was sent.
    elapsed: u64,
    /// Gaps announced so far.
    gaps: u64,
}

impl Order {
    /// Creates the order of a view that begins with the status of the answer, at `offset`, or at 0
    /// with a gap if 0 is not kept.
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
            seen: status.clone(),
            live: None,
            statuses: VecDeque::new(),
            notices: VecDeque::new(),
            buffer,
            terminal: None,
            lost: false,
            unreachable: false,
            checked: false,
            done: false,
            status_bytes,
            elapsed: 0,
            gaps: 0,
        };
        if status.state.is_terminal() {
            order.terminal = Some(status);
        } else {
            let word = StatusWord::State(status.state);
            order.live = Some(status.clone());
            order.statuses.push_back((word, false, status));
        }
        order
    }

    /// Returns the newest status known.
    #[must_use]
    pub fn seen(&self) -> &Status {
        &self.seen
    }

    /// Whether the end is known, though perhaps not sent yet.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Whether the last message was sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Returns the offset of the next byte to read.
    #[must_use]
    pub fn read_from(&self) -> u64 {
        self.buffer.read_from()
    }

    /// Whether there is room for bytes.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        !self.done && !self.lost && self.buffer.wants_bytes()
    }

    /// Whether bytes are known, or likely, to be there to read.
    #[must_use]
    pub fn has_more_upstream(&self) -> bool {
        match &self.terminal {
            Some(end) => self.read_from() < end.output_bytes,
            None => self.seen.state != State::Queued || self.read_from() < self.seen.output_bytes,
        }
    }

    /// Returns the bytes held for the client: unsent output and its read-ahead, notices and
    /// statuses.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let output = match self.buffer.held() {
            0 => 0,
            bytes if self.buffer.has_piece(self.is_read()) => bytes + READ_AHEAD_BYTES,
            // A part of a character: it cannot be sent before more is read.
            bytes => bytes,
        };
        let notices: usize = self.notices.iter().map(String::len).sum();
        let statuses: usize = self.statuses.iter().map(|(_, _, s)| weight(s)).sum();
        output + notices + statuses
    }

    /// Frees room: a view with `onSlow: skip` drops the output that it need not hold.
    pub fn shrink(&mut self) {
        self.buffer.shrink();
    }

    /// Returns the bytes dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.buffer.dropped()
    }

    /// Handles the first status of a connection: it is sent only if it differs from the known one.
    pub fn on_first_status(&mut self, status: Status) {
        let known = Status {
            output_bytes: self.seen.output_bytes,
            queue_position: self.seen.queue_position,
            duration_ms: self.seen.duration_ms,
            ..status.clone()
        };
        if known == self.seen && !self.unreachable {
            self.live = Some(status.clone());
            self.seen = status;
        } else {
            self.on_status(status);
        }
    }

    /// Handles a status of the execution.
    pub fn on_status(&mut self, status: Status) {
        if self.terminal.is_some() {
            return;
        }
        self.unreachable = false;
        for notice in notices::between(&self.seen, &status) {
            self.notify(&notice);
        }
        let old = std::mem::replace(&mut self.seen, status);
        if self.seen.state.is_terminal() {
            self.terminal = Some(self.seen.clone());
            return;
        }
        let word = if old.state == State::Paused && self.seen.state == State::Running {
            StatusWord::Resumed
        } else {
            StatusWord::State(self.seen.state)
        };
        self.live = Some(self.seen.clone());
        self.queue_status(word);
    }

    fn queue_status(&mut self, word: StatusWord) {
        let Some(status) = self.live.clone() else {
            return;
        };
        let running = StatusWord::State(State::Running);
        match self.statuses.back_mut() {
            Some(last) if last.0 == word => *last = (word, self.unreachable, status),
            // A heartbeat behind an unsent RESUMED holds nothing new.
            Some(last) if last.0 == StatusWord::Resumed && word == running => {
                *last = (StatusWord::Resumed, self.unreachable, status);
            }
            _ => {
                if self.statuses.len() == STATUSES {
                    // Never the front: the first of all has the state of the answer.
                    self.statuses.remove(1);
                }
                self.statuses.push_back((word, self.unreachable, status));
            }
        }
    }

    fn notify(&mut self, notice: &Notice) {
        if self.notices.len() < NOTICES {
            self.notices.push_back(notice.to_message());
        }
    }

    /// Handles a failure to reach claude-api. It is sent once, then with each heartbeat. When the
    /// end is known it matters only while bytes are missing.
    pub fn on_unreachable(&mut self) {
        if self.done || self.unreachable || self.is_read() {
            return;
        }
        self.unreachable = true;
        let notice = notice(
            Some(self.seen.execution_id),
            "upstream_unreachable",
            "claude-api cannot be reached; the bridge keeps trying",
            Value::Null,
        );
        self.notify(&notice);
        self.on_heartbeat();
    }

    /// Whether claude-api could not be reached when it was last tried.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// Repeats the last status, because none was sent for more than a heartbeat. claude-api repeats
    /// it itself while it can be reached. While the last bytes of an ended execution are missing,
    /// the last status before its end is repeated.
    pub fn on_heartbeat(&mut self) {
        if self.done || (self.terminal.is_some() && (!self.unreachable || self.is_read())) {
            return;
        }
        if let Some(live) = &self.live {
            self.queue_status(StatusWord::State(live.state));
        }
    }

    /// Handles that claude-api does not know the accepted id any more. The last known status stays;
    /// of a terminal execution only bytes are missing.
    pub fn on_gone(&mut self, now: Timestamp) {
        if let Some(end) = &self.terminal {
            self.buffer.freed(end.output_bytes);
            return;
        }
        self.lost = true;
        self.buffer.close();
        let mut lost = self.seen.clone();
        lost.state = State::Interrupted;
        lost.reason = Some(Reason::Lost);
        lost.exit_code = None;
        lost.activity = None;
        let begun = lost.started_at.unwrap_or(lost.created_at);
        lost.ended_at.get_or_insert(now.max(begun));
        lost.output_bytes = self.buffer.read_from();
        lost.crc32 = self.buffer.crc32().map(crc32_text);
        lost.sha256 = None;
        self.seen = lost.clone();
        self.terminal = Some(lost);
    }

    /// Handles bytes that were read at [`Self::read_from`].
    pub fn on_bytes(&mut self, bytes: &Bytes) {
        if self.lost {
            return;
        }
        self.buffer.push(bytes);
        if self.terminal.is_some() {
            // Before the terminal status, only a status shows that claude-api can be reached.
            self.unreachable = false;
        }
    }

    /// Handles that everything before `kept` is gone.
    pub fn on_freed(&mut self, kept: u64) {
        self.buffer.freed(kept);
    }

    /// Whether all bytes of a terminal execution were read.
    fn is_read(&self) -> bool {
        self.terminal
            .as_ref()
            .is_some_and(|end| self.buffer.read_from() >= end.output_bytes)
    }

    /// Whether the next message is a status.
    #[must_use]
    pub fn is_status_next(&self) -> bool {
        !self.statuses.is_empty()
    }

    /// Whether [`Self::next`] would return a message.
    #[must_use]
    pub fn has_message(&self) -> bool {
        !self.done
            && (!self.notices.is_empty()
                || !self.statuses.is_empty()
                || self.buffer.has_piece(self.is_read())
                || self.is_read())
    }

    /// Returns the number of gaps announced so far.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Returns the next message.
    pub fn next(&mut self, now: Timestamp) -> Option<String> {
        if self.done {
            return None;
        }
        let limit = self.status_bytes;
        if let Some((word, unreachable, status)) = self.statuses.pop_front() {
            let elapsed = self.elapsed(&status, now);
            let update = StatusUpdate {
                word,
                elapsed_ms: elapsed,
                upstream: unreachable.then_some(Upstream::Unreachable),
                status: &status,
            };
            return Some(update.to_message_within(limit));
        }
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice);
        }
        let id = self.seen.execution_id;
        let last = self.is_read();
        match self.buffer.take(last) {
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
        if !last {
            return None;
        }
        let end = self.terminal.clone()?;
        if let Some(text) = self.mismatch(&end) {
            return Some(text);
        }
        self.done = true;
        let update = StatusUpdate {
            word: StatusWord::State(end.state),
            elapsed_ms: self.elapsed(&end, now),
            upstream: None,
            status: &end,
        };
        Some(update.to_message_within(limit))
    }

    /// Returns `elapsedMs`, never less than was sent before: a heartbeat may be sent between an end
    /// and its status, and clocks are set.
    fn elapsed(&mut self, status: &Status, now: Timestamp) -> u64 {
        self.elapsed = self.elapsed.max(elapsed_ms(status, now));
        self.elapsed
    }

    /// Reports once, in the log and as a notice, that the bytes read are not those that claude-api
    /// says it sent.
    fn mismatch(&mut self, end: &Status) -> Option<String> {
        if std::mem::replace(&mut self.checked, true) {
            return None;
        }
        let got = self.buffer.crc32().map(crc32_text)?;
        let length = self.buffer.read_from();
        let same_crc = end.crc32.as_ref().is_none_or(|crc| *crc == got);
        if same_crc && length == end.output_bytes {
            return None;
        }
        tracing::error!(
            execution = %end.execution_id,
            expected = ?end.crc32,
            %got,
            length,
            output_bytes = end.output_bytes,
            "the output read is not the output that claude-api describes"
        );
        let data = json!({
            "expected": end.crc32, "got": got, "length": length, "outputBytes": end.output_bytes,
        });
        let notice = notice(
            Some(end.execution_id),
            "output_mismatch",
            "the output sent is not what claude-api describes; attach again from 0",
            data,
        );
        Some(notice.to_message())
    }
}

#[cfg(test)]
mod tests;
