//! Lines in, text and facts out.

mod state;

use memchr::memmem;
use serde::de::IgnoredAny;

use crate::event::Kind;
use crate::facts::{Fact, Rendered};
use crate::lines::{Line, Lines};
use crate::salvage::{Salvaged, has_another, salvage};
use crate::sanitise::sanitised;
use state::State;

/// How a token line of the pinned CLI begins: most lines do.
const TOKEN_LINE: &[u8] = br#"{"type":"stream_event","event":{"type":"content_block_delta""#;

/// How the other frequent, and often large, one begins.
const USER_LINE: &[u8] = br#"{"type":"user","#;

/// How much of a line is searched for the mark of a token line whose keys are in another order.
const TOKEN_MARK_WITHIN_BYTES: usize = 256;

/// The state machine of one execution's stdout.
#[derive(Debug, Default)]
pub struct Renderer {
    lines: Lines,
    state: State,
}

impl Renderer {
    /// `want_text` is false for format `events`: then only facts are made, and lines that hold none
    /// are passed over unparsed. What is counted as noise is then coarser: a line in braces is
    /// taken for JSON.
    #[must_use]
    pub fn new(want_text: bool) -> Self {
        Self {
            lines: Lines::default(),
            state: State::new(want_text),
        }
    }

    /// Takes the next bytes of stdout, cut anywhere.
    pub fn push(&mut self, chunk: &[u8], out: &mut Rendered) {
        let Self { lines, state } = self;
        lines.push(chunk, |line| state.line(&line, out));
        state.tell_noise(out);
    }

    /// Stdout has ended: takes a last line without line feed, and shows the result's text if
    /// nothing was shown.
    pub fn finish(&mut self, out: &mut Rendered) {
        let Self { lines, state } = self;
        lines.finish(|line| state.line(&line, out));
        state.tell_noise(out);
        if state.want_text {
            state.answer.finish(&mut out.text);
            if let Some(text) = state.instead.take().filter(|_| !state.answer.has_shown()) {
                state.answer.show_instead(&text, &mut out.text);
            }
        }
    }
}

impl State {
    fn tell_noise(&mut self, out: &mut Rendered) {
        let lines = std::mem::take(&mut self.noise_lines);
        if lines > 0 {
            out.facts.push(Fact::Noise { lines });
        }
    }

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
        if line.is_empty() || (!self.want_text && says_nothing(line)) || self.object(line, out) {
            return;
        }
        if !is_json(line) {
            self.damaged(line, out);
        } else if is_of_answer(line) {
            self.lost(out);
        }
    }

    /// Takes an event. False if the bytes could not be read as an event; they may still be JSON.
    fn object(&mut self, bytes: &[u8], out: &mut Rendered) -> bool {
        bytes.starts_with(b"{")
            && (self.event(bytes, out).is_ok()
                || sanitised(bytes).is_some_and(|clean| self.event(clean.as_bytes(), out).is_ok()))
    }

    /// Takes each whole event of a damaged line.
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

/// Whether an event that could not be read, though it is JSON, belongs to the answer.
fn is_of_answer(line: &[u8]) -> bool {
    // Serde reads a struct from an array, too.
    let kind = line.starts_with(b"{").then(|| serde_json::from_slice(line));
    kind.is_some_and(|kind: Result<Kind<'_>, _>| kind.is_ok_and(|kind| kind.is_of_answer()))
}

/// A line of which format `events` needs nothing: one more token, or a message from the user.
fn says_nothing(line: &[u8]) -> bool {
    let start = &line[..line.len().min(TOKEN_MARK_WITHIN_BYTES)];
    let nothing = if line.starts_with(USER_LINE) {
        line.ends_with(b"}") && memmem::find(line, b"\"tool_result\"").is_none()
    } else {
        line.starts_with(TOKEN_LINE) || memmem::find(start, b"\"content_block_delta\"").is_some()
    };
    nothing && !has_another(line)
}
