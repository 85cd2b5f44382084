//! Writes one answer in the order of the CLI's lines: message, blocks, deltas, the whole block in
//! `assistant`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    control::SessionState,
    lines::{self, Lines},
    output::Output,
};

/// The default length of a text block in bytes; `assistant` repeats its whole text.
const BLOCK_BYTES: usize = 1024 * 1024;
/// The size of writes that gather several lines, for speed.
const WRITE_BYTES: usize = 256 * 1024;
/// The length of a delta of a long block, in bytes.
const LONG_DELTA_BYTES: usize = 1000;
/// Longer texts are left out of `result`, unless a step asks for them.
const RESULT_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) out: &'a mut Output,
    pub(super) lines: &'a Lines,
    state: &'a mut SessionState,
    pub(super) block_bytes: usize,
    /// A longer last text is left out of `result`.
    pub(super) result_bytes: usize,
    /// The pause between two deltas.
    pace: Duration,
    /// When the next delta is due, if there is a pace.
    due: Instant,
    message: Option<String>,
    index: usize,
    /// The open text block's text so far, escaped; `None` when no block is open.
    block: Option<String>,
    /// The last finished block's text, escaped.
    pub(super) last: String,
}

impl<'a> Turn<'a> {
    pub(super) fn new(out: &'a mut Output, lines: &'a Lines, state: &'a mut SessionState) -> Self {
        let last = String::new();
        let pace = Duration::ZERO;
        Self {
            out,
            lines,
            state,
            block_bytes: BLOCK_BYTES,
            result_bytes: RESULT_BYTES,
            pace,
            due: Instant::now(),
            message: None,
            index: 0,
            block: None,
            last,
        }
    }

    /// Reports a state of the session.
    pub(super) fn change_state(&mut self, state: &'static str) {
        self.state.change(self.out, self.lines, state);
    }

    pub(super) fn rate(&mut self, per_second: f64) {
        self.pace = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::ZERO);
        self.due = Instant::now();
    }

    fn wait(&mut self) {
        if !self.pace.is_zero() {
            std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
            self.due += self.pace;
        }
    }

    /// Returns the open message's id; opens a message if there is none.
    pub(super) fn message(&mut self) -> String {
        if let Some(message) = &self.message {
            return message.clone();
        }
        let message = format!("msg_{}", uuid::Uuid::new_v4().simple());
        self.out.line(&self.lines.requesting());
        self.out.line(&self.lines.message_start(&message, None));
        self.index = 0;
        self.message = Some(message.clone());
        message
    }

    fn open_block(&mut self) -> String {
        let message = self.message();
        if self.block.is_none() {
            let start = json!({
                "content_block": {"text": "", "type": "text"}, "index": self.index,
                "type": "content_block_start",
            });
            self.out.line(&self.lines.stream(&message, start, None));
            self.block = Some(String::new());
        }
        message
    }

    /// Writes a text delta.
    pub(super) fn text(&mut self, text: &str) {
        self.escaped(&lines::escaped(text));
    }

    /// Writes a text delta of escaped text.
    pub(super) fn escaped(&mut self, escaped: &str) {
        self.wait();
        let message = self.open_block();
        self.out
            .line(&self.lines.text_delta(&message, self.index, escaped));
        self.grow(escaped);
    }

    fn grow(&mut self, escaped: &str) {
        let block = self.block.get_or_insert_default();
        block.push_str(escaped);
        if block.len() >= self.block_bytes {
            self.end_block();
        }
    }

    /// Writes a text delta whose text is not valid UTF-8.
    pub(super) fn invalid(&mut self) {
        let message = self.open_block();
        let line = self.lines.text_delta(&message, self.index, "bad ?? bytes ");
        let bytes: Vec<u8> = line
            .bytes()
            .map(|byte| if byte == b'?' { 0xff } else { byte })
            .collect();
        self.out.bytes_line(&bytes);
        self.grow("bad \\ufffd\\ufffd bytes ");
    }

    /// Writes many deltas of one size, each with a number; fast without a pace and without special
    /// writing.
    pub(super) fn volume(&mut self, count: u64, bytes: usize, word: &str) {
        let filling = lines::escaped(&filling(bytes.saturating_sub(14), word));
        let plain =
            self.pace.is_zero() && !(self.out.split || self.out.crlf || self.out.no_final_newline);
        if !plain {
            for number in 1..=count {
                self.escaped(&format!("{number:012} {filling}\\n"));
            }
            return;
        }
        let mut number = 0;
        while number < count {
            let message = self.open_block();
            number = self.fill_block(&message, number, count, &filling);
        }
    }

    /// One block of so many million bytes, as the CLI writes it: in deltas, then whole, then whole
    /// in the result.
    pub(super) fn long(&mut self, megabytes: u64) {
        self.end_block();
        (self.block_bytes, self.result_bytes) = (usize::MAX, usize::MAX);
        self.volume((megabytes * 1_000_000).div_ceil(1000), LONG_DELTA_BYTES, "");
        self.block_bytes = BLOCK_BYTES;
        self.end_block();
    }

    /// Writes deltas until the block is full; returns the last number written.
    fn fill_block(&mut self, message: &str, mut number: u64, count: u64, filling: &str) -> u64 {
        let text = format!("{:012} {filling}\\n", 0);
        let mut line = self
            .lines
            .text_delta(message, self.index, &text)
            .into_bytes();
        line.push(b'\n');
        let at = line
            .windows(13)
            .position(|part| part == b"000000000000 ")
            .unwrap_or(0);
        let mut block = self.block.take().unwrap_or_default().into_bytes();
        let mut writes = Vec::with_capacity(WRITE_BYTES + line.len());
        while number < count && block.len() < self.block_bytes {
            number += 1;
            digits(&mut line[at..at + 12], number);
            block.extend_from_slice(&line[at..at + text.len()]);
            writes.extend_from_slice(&line);
            if writes.len() >= WRITE_BYTES {
                self.out.raw(&writes);
                writes.clear();
            }
        }
        self.out.raw(&writes);
        let full = block.len() >= self.block_bytes;
        self.block = Some(String::from_utf8(block).unwrap_or_default());
        if full {
            self.end_block();
        }
        number
    }

    /// Ends the open text block, if there is one.
    pub(super) fn end_block(&mut self) {
        let Some(text) = self.block.take() else {
            return;
        };
        let message = self.message();
        self.out.line(&self.lines.assistant_text(&message, &text));
        self.stop_block();
        // The real CLI's result repeats the whole last text. A part of it adds nothing to the
        // output either. The part ends before a blank: the text is escaped, and must not end in an
        // escape.
        let mut end = text.len();
        if end > self.result_bytes {
            let part = &text[..text.floor_char_boundary(self.result_bytes)];
            end = part.rfind(' ').unwrap_or(0);
        }
        self.last = text;
        self.last.truncate(end);
    }

    fn stop_block(&mut self) {
        let message = self.message();
        let stop = json!({"index": self.index, "type": "content_block_stop"});
        self.out.line(&self.lines.stream(&message, stop, None));
        self.index += 1;
    }

    /// Any other block: start, deltas by `play`, the whole, stop.
    pub(super) fn block(
        &mut self,
        empty: serde_json::Value,
        whole: serde_json::Value,
        play: impl FnOnce(&mut dyn FnMut(serde_json::Value)),
    ) {
        self.end_block();
        let message = self.message();
        let (lines, index) = (self.lines, self.index);
        let start = json!({"content_block": empty, "index": index, "type": "content_block_start"});
        self.out.line(&lines.stream(&message, start, None));
        play(&mut |delta| {
            let delta = json!({"delta": delta, "index": index, "type": "content_block_delta"});
            self.out.line(&lines.stream(&message, delta, None));
        });
        self.out.line(&lines.assistant(&message, whole, None));
        self.stop_block();
    }

    /// Ends the open message, if there is one.
    pub(super) fn end_message(&mut self, stop_reason: &str) {
        self.end_block();
        let Some(message) = self.message.take() else {
            return;
        };
        let delta = json!({
            "delta": {"stop_reason": stop_reason, "stop_sequence": null}, "type": "message_delta",
            "usage": {"output_tokens": 2},
        });
        self.out.line(&self.lines.stream(&message, delta, None));
        self.out.line(
            &self
                .lines
                .stream(&message, json!({"type": "message_stop"}), None),
        );
    }

    /// Breaks the open message off: its open block is abandoned.
    pub(super) fn abandon(&mut self) {
        let Some(message) = self.message.take() else {
            return;
        };
        let from = self.index;
        if self.block.take().is_some() {
            let stop = json!({"type": "content_block_stop", "index": from});
            self.out.line(&self.lines.stream(&message, stop, None));
        }
        self.out.line(&self.lines.abandoned(&message, from));
    }

    /// Writes a whole message, without a stream.
    pub(super) fn whole(&mut self, text: &str) {
        self.end_message("end_turn");
        let message = format!("msg_{}", uuid::Uuid::new_v4().simple());
        let escaped = lines::escaped(text);
        self.out
            .line(&self.lines.assistant_text(&message, &escaped));
        self.last = escaped;
    }
}

/// Returns a filling of this length: a word as often as it fits, then `x`.
fn filling(bytes: usize, word: &str) -> String {
    let mut text = word.repeat(bytes.checked_div(word.len()).unwrap_or(0));
    text.push_str(&"x".repeat(bytes - text.len()));
    text
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}
