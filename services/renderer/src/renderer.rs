//! Turns the event lines on the CLI's stdout into the text of the answer and into facts.

mod state;

use std::sync::LazyLock;

use memchr::{memchr2, memmem};
use serde::de::IgnoredAny;

use crate::event::{KINDS, Kind};
use crate::facts::{Fact, Rendered};
use crate::lines::{Line, Lines};
use crate::salvage::{EVENT, Salvaged, has_another, salvage};
use crate::sanitise::sanitised;
use state::State;

/// How the CLI (at its pinned version) begins a token line, which is an event with a piece of text.
/// Most lines are token lines, so format `events` recognizes them by these bytes and does not parse
/// them.
const TOKEN_LINE: &[u8] = br#"{"type":"stream_event","event":{"type":"content_block_delta""#;

/// How the CLI begins a line with a user message, which carries the results of tools. Such lines
/// are frequent and often large.
const USER_LINE: &[u8] = br#"{"type":"user","#;

/// How many bytes at the start of a line are searched for the name of a token event. The search
/// also finds token lines whose members have another order than in [`TOKEN_LINE`].
const TOKEN_MARK_WITHIN_BYTES: usize = 256;

/// Turns the stdout of one run of the CLI into text and facts. Between chunks of stdout it keeps
/// unfinished lines and unfinished messages.
#[derive(Debug, Default)]
pub struct Renderer {
    lines: Lines,
    state: State,
}

impl Renderer {
    /// Creates a renderer for one run of the CLI. `want_text` is true for the output format `text`.
    /// With false, for the format `events`, the renderer produces only facts and skips lines
    /// without facts unparsed. It then counts noise (lines that are not JSON) less exactly: a line
    /// in braces counts as JSON.
    #[must_use]
    pub fn new(want_text: bool) -> Self {
        Self {
            lines: Lines::default(),
            state: State::new(want_text),
        }
    }

    /// Processes the next bytes of the CLI's stdout, and appends new text and facts to `out`. The
    /// bytes may be cut anywhere, also inside a character. Malformed lines cause no error, but are
    /// reported as facts.
    pub fn push(&mut self, chunk: &[u8], out: &mut Rendered) {
        let Self { lines, state } = self;
        lines.push(chunk, |line| state.line(&line, out));
        state.report_noise(out);
    }

    /// Processes the end of the CLI's stdout, and appends the last text and facts to `out`. Reads a
    /// last line without a line feed. If no text was shown before, the text of the result is shown.
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
    /// Reports the lines that were not JSON since the last call. Reports no fact if there were
    /// none.
    fn report_noise(&mut self, out: &mut Rendered) {
        let lines = std::mem::take(&mut self.noise_lines);
        if lines > 0 {
            out.facts.push(Fact::Noise { lines });
        }
    }

    /// Processes one line of stdout. If the line is damaged or too long, reports whether text may
    /// be lost.
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

    /// Processes `bytes` as one event, and repairs damaged strings if needed. Returns false if
    /// `bytes` is not a readable event; it may still be JSON.
    fn object(&mut self, bytes: &[u8], out: &mut Rendered) -> bool {
        bytes.starts_with(b"{")
            && (self.event(bytes, out).is_ok()
                || sanitised(bytes).is_some_and(|clean| self.event(clean.as_bytes(), out).is_ok()))
    }

    /// Processes a line that is not one JSON value. Finds each whole event in it, and reports
    /// whether others are lost.
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

/// Returns true if the line is one JSON value.
fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Returns true if an unreadable JSON object may contain text of the answer. That text is then
/// lost.
fn is_of_answer(line: &[u8]) -> bool {
    // Serde would read a struct from an array too.
    let kind = line.starts_with(b"{").then(|| serde_json::from_slice(line));
    kind.is_some_and(|kind: Result<Kind<'_>, _>| kind.is_ok_and(|kind| kind.is_of_answer()))
}

/// Returns true if a line has no fact for format `events` and need not be parsed. That is so for a
/// piece of text, for a user message without a tool result, and for an event of another kind than
/// [`KINDS`].
fn is_irrelevant(line: &[u8]) -> bool {
    static TOKEN: LazyLock<memmem::Finder<'_>> =
        LazyLock::new(|| memmem::Finder::new(b"\"content_block_delta\""));
    static TOOL_RESULT: LazyLock<memmem::Finder<'_>> =
        LazyLock::new(|| memmem::Finder::new(b"\"tool_result\""));
    let start = || &line[..line.len().min(TOKEN_MARK_WITHIN_BYTES)];
    let irrelevant = if line.starts_with(USER_LINE) {
        line.ends_with(b"}") && TOOL_RESULT.find(line).is_none()
    } else {
        line.starts_with(TOKEN_LINE) || has_other_kind(line) || TOKEN.find(start()).is_some()
    };
    irrelevant && !has_another(line)
}

/// Returns true if a line begins as the CLI begins an event, and its kind is not among [`KINDS`].
fn has_other_kind(line: &[u8]) -> bool {
    let Some(following) = line.strip_prefix(EVENT).filter(|_| line.ends_with(b"}")) else {
        return false;
    };
    // A name with an escape may be any kind.
    let end = memchr2(b'"', b'\\', following).filter(|end| following[*end] == b'"');
    end.is_some_and(|end| !KINDS.contains(&&following[..end]))
}
