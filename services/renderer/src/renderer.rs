//! The renderer: turns the event lines on the CLI's stdout into text and facts.

mod state;

use memchr::memmem;
use serde::de::IgnoredAny;

use crate::event::Kind;
use crate::facts::{Fact, Rendered};
use crate::lines::{Line, Lines};
use crate::salvage::{Salvaged, has_another, salvage};
use crate::sanitise::sanitised;
use state::State;

/// How a token line (an event with a piece of text) of the pinned CLI begins. Most lines are token
/// lines, so format `events` skips them unparsed.
const TOKEN_LINE: &[u8] = br#"{"type":"stream_event","event":{"type":"content_block_delta""#;

/// How a line with a user message begins, which carries tool results. Such lines are frequent and
/// often large.
const USER_LINE: &[u8] = br#"{"type":"user","#;

/// How many bytes at the start of a line are searched for the name of a token event, to recognise
/// token lines with another order of members.
const TOKEN_MARK_WITHIN_BYTES: usize = 256;

/// Turns the stdout of one run of the CLI into text and facts. It holds the state between chunks,
/// such as unfinished lines and messages.
#[derive(Debug, Default)]
pub struct Renderer {
    lines: Lines,
    state: State,
}

impl Renderer {
    /// Creates a renderer for one run of the CLI. `want_text` is false for output format `events`:
    /// the renderer then produces only facts, and skips lines without facts unparsed. Noise (lines
    /// that are not JSON) is then counted less exactly: a line in braces counts as JSON.
    #[must_use]
    pub fn new(want_text: bool) -> Self {
        Self {
            lines: Lines::default(),
            state: State::new(want_text),
        }
    }

    /// Processes the next bytes of stdout, which may be cut anywhere, and appends new text and
    /// facts to `out`.
    pub fn push(&mut self, chunk: &[u8], out: &mut Rendered) {
        let Self { lines, state } = self;
        lines.push(chunk, |line| state.line(&line, out));
        state.report_noise(out);
    }

    /// Processes the end of stdout: a last line without line feed, and, if no other text was shown,
    /// the text of the result.
    pub fn finish(&mut self, out: &mut Rendered) {
        let Self { lines, state } = self;
        lines.finish(|line| state.line(&line, out));
        state.report_noise(out);
        if state.want_text {
            state.answer.finish(&mut out.text);
            if let Some(text) = state
                .fallback_text
                .take()
                .filter(|_| !state.answer.has_shown())
            {
                state.answer.show_fallback(&text, &mut out.text);
            }
        }
    }
}

impl State {
    /// Reports the lines since the last call that were not JSON, if any.
    fn report_noise(&mut self, out: &mut Rendered) {
        let lines = std::mem::take(&mut self.noise_lines);
        if lines > 0 {
            out.facts.push(Fact::Noise { lines });
        }
    }

    /// Processes one line of stdout, and reports what is lost if it is damaged or too long.
    fn line(&mut self, line: &Line<'_>, out: &mut Rendered) {
        let line = match line {
            Line::Whole(line) => line.trim_ascii(),
            Line::TooLong { event } => {
                self.noise_lines += 1;
                if *event {
                    self.lost(out);
                }
                return;
            }
        };
        if line.is_empty() || (!self.want_text && is_irrelevant(line)) || self.object(line, out) {
            return;
        }
        if !is_json(line) {
            self.damaged(line, out);
        } else if is_of_answer(line) {
            self.lost(out);
        }
    }

    /// Processes `bytes` as one event, after a repair of damaged strings if needed. Returns false
    /// if they are no event; they may still be JSON.
    fn object(&mut self, bytes: &[u8], out: &mut Rendered) -> bool {
        bytes.starts_with(b"{")
            && (self.event(bytes, out).is_ok()
                || sanitised(bytes).is_some_and(|clean| self.event(clean.as_bytes(), out).is_ok()))
    }

    /// Processes each whole event in a line that is not JSON as a whole, and reports what is lost.
    fn damaged(&mut self, line: &[u8], out: &mut Rendered) {
        let Salvaged {
            objects,
            noise,
            lost,
        } = salvage(line);
        self.noise_lines += u64::from(noise);
        if lost {
            self.lost(out);
        }
        for object in objects {
            if !self.object(object, out) && is_of_answer(object) {
                self.lost(out);
            }
        }
    }
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Whether JSON that could not be read as an event may have text of the answer, which is then lost.
fn is_of_answer(line: &[u8]) -> bool {
    // Serde would read a struct from an array too.
    let kind = line.starts_with(b"{").then(|| serde_json::from_slice(line));
    kind.is_some_and(|kind: Result<Kind<'_>, _>| kind.is_ok_and(|kind| kind.is_of_answer()))
}

/// Whether format `events` needs no fact from a line, so that it is not parsed: a piece of text, or
/// a user message without a tool result.
fn is_irrelevant(line: &[u8]) -> bool {
    let start = &line[..line.len().min(TOKEN_MARK_WITHIN_BYTES)];
    let irrelevant = if line.starts_with(USER_LINE) {
        line.ends_with(b"}") && memmem::find(line, b"\"tool_result\"").is_none()
    } else {
        line.starts_with(TOKEN_LINE) || memmem::find(start, b"\"content_block_delta\"").is_some()
    };
    irrelevant && !has_another(line)
}
