//! The state and activity of an execution, shown on stderr. On a terminal it is one line that is
//! overwritten, and otherwise a new line for each change.

use std::io::{IsTerminal, Write};

use client::StatusUpdate;

use crate::show;

const CLEAR: &str = "\r\x1b[K";
/// The maximum width of the progress line, in characters. A longer line would wrap on a narrow
/// terminal (80 columns), and a wrapped line cannot be overwritten.
const WIDTH: usize = 78;

/// A writer of the progress line and of messages on stderr, which does not disturb the output on
/// stdout.
pub(crate) struct Progress {
    quiet: bool,
    /// Whether stderr is a terminal, so that the progress line can be overwritten.
    terminal: bool,
    /// Whether stdout is a terminal too, so that both appear there. The progress line must then be
    /// cleared before output is written, and may be drawn only at the beginning of a line.
    shared: bool,
    /// Whether the last output byte on the terminal was a newline, or nothing was written.
    at_line_start: bool,
    /// Whether the progress line is visible on the terminal now.
    drawn: bool,
    /// Whether a question waits for an answer on the terminal, so that no progress line is drawn.
    held: bool,
    /// Whether the last line on the terminal is an input line, which has no newline yet.
    input_line_open: bool,
    /// The text of the last progress line, so that an unchanged line is not printed again.
    last: String,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            shared: std::io::stdout().is_terminal(),
            at_line_start: true,
            drawn: false,
            held: false,
            input_line_open: false,
            last: String::new(),
        }
    }

    /// Shows the state and activity of an execution on the progress line. Does nothing with
    /// `--quiet`.
    pub(crate) fn status(&mut self, update: &StatusUpdate) {
        let mut activity = show::activity(&update.status);
        if let Some(upstream) = update.upstream {
            activity = format!("{activity}, claude-api {}", upstream.as_str());
        }
        self.activity(activity, Some(update.elapsed_ms));
    }

    /// Shows a text about the present activity on the progress line, with the elapsed time in
    /// milliseconds if it is known. Does nothing with `--quiet`.
    pub(crate) fn activity(&mut self, activity: String, elapsed_ms: Option<u64>) {
        if self.quiet {
            return;
        }
        let activity = show::one_line(&activity);
        let changed = activity != self.last;
        self.last = activity;
        if self.terminal {
            let time = elapsed_ms
                .map(|ms| format!(" {}", show::time(ms)))
                .unwrap_or_default();
            self.draw(&format!("{}{time}", self.last));
        } else if changed {
            put(&format!("ccb: {}\n", self.last));
        }
    }

    /// Prints a message on a line of its own on stderr, which is not overwritten. Does nothing with
    /// `--quiet`.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Prints a message on a line of its own on stderr, which is not overwritten, even with
    /// `--quiet`.
    pub(crate) fn say(&mut self, text: &str) {
        self.clear();
        self.end_input_line();
        let newline = self.newline();
        put(&format!("{newline}ccb: {}\n", show::message(text)));
    }

    /// Returns the newline that ends the line of the output, if a message would follow it there. A
    /// message ends that line only if stderr is the terminal.
    fn newline(&mut self) -> &'static str {
        let is_needed = self.shared && self.terminal && !self.at_line_start;
        self.at_line_start |= self.terminal;
        if is_needed { "\n" } else { "" }
    }

    /// Ends the input line, so that other text does not look like what the person typed.
    fn end_input_line(&mut self) {
        if std::mem::take(&mut self.input_line_open) {
            put("\n");
        }
    }

    /// Shows the line that asks for input, without a newline behind it. No progress line is drawn
    /// until [`Self::release`].
    pub(crate) fn show_input_line(&mut self, text: &str) {
        self.clear();
        self.end_input_line();
        self.held = true;
        let newline = self.newline();
        // The space at the end of the text is removed by the formatting.
        put(&format!("{newline}ccb: {} ", show::message(text)));
        self.input_line_open = true;
    }

    /// Notes that the person has ended the input line.
    pub(crate) fn line_entered(&mut self) {
        self.input_line_open = false;
    }

    /// Allows progress lines again after an input line.
    pub(crate) fn release(&mut self) {
        self.held = false;
    }

    /// Returns whether output and input lines appear on the same terminal.
    pub(crate) fn shares_terminal(&self) -> bool {
        self.shared && self.terminal
    }

    /// Clears the progress line if stdout is a terminal, so that output can be written there.
    /// `bytes` is the output that the caller writes next.
    pub(crate) fn before_output(&mut self, bytes: &[u8]) {
        if self.shared {
            self.clear();
            self.end_input_line();
            if let Some(last) = bytes.last() {
                self.at_line_start = *last == b'\n';
            }
        }
    }

    /// Clears the progress line at the end of the command. On a terminal, also ends the last line
    /// of the output, so that the shell's prompt begins on a new line. A file or a pipe gets no
    /// additional newline.
    pub(crate) fn finish(mut self) {
        self.clear();
        self.end_input_line();
        if self.shared && !self.at_line_start {
            // Errors do not matter: a closed terminal needs no newline.
            let _ = std::io::stdout().write_all(b"\n");
            let _ = std::io::stdout().flush();
        }
    }

    /// Clears the progress line if it is visible.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            put(CLEAR);
        }
    }

    fn draw(&mut self, text: &str) {
        if self.held || self.shared && !self.at_line_start {
            return;
        }
        let text: String = text.chars().take(WIDTH).collect();
        put(&format!("{CLEAR}{text}"));
        self.drawn = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes text to stderr. Errors are ignored, because a closed stderr is no reason to stop.
fn put(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
