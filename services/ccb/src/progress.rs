//! State and activity of an execution on stderr: on a terminal one line that is overwritten,
//! otherwise a line for each change.

use std::io::{IsTerminal, Write};

use client::StatusUpdate;

use crate::show;

const CLEAR: &str = "\r\x1b[K";
/// Maximum width of the progress line, in characters. A longer line would wrap on a narrow
/// terminal, and a wrapped line cannot be overwritten.
const WIDTH: usize = 78;

/// Writes the progress line and messages to stderr, without disturbing the output on stdout.
pub(crate) struct Progress {
    quiet: bool,
    /// Whether stderr is a terminal, so that the progress line can be overwritten.
    terminal: bool,
    /// Whether stdout is a terminal too. The progress line must then be cleared before output is
    /// written, and may be drawn only at the beginning of a line.
    shared: bool,
    /// Whether the last output byte on the terminal was a newline, or nothing was written.
    at_line_start: bool,
    /// Whether the progress line is on the terminal now.
    drawn: bool,
    /// The text that the progress line had last.
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
            last: String::new(),
        }
    }

    /// Shows the state and activity of an execution on the progress line, unless quiet.
    pub(crate) fn status(&mut self, update: &StatusUpdate) {
        let mut activity = show::activity(&update.status);
        if let Some(upstream) = update.upstream {
            activity = format!("{activity}, claude-api {}", upstream.as_str());
        }
        self.activity(activity, Some(update.elapsed_ms));
    }

    /// Shows what happens now on the progress line, with the elapsed time in milliseconds if it is
    /// known. Does nothing when quiet.
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

    /// Prints a message on stderr that stays on the terminal. Does nothing when quiet.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Prints a message on stderr that stays on the terminal, even when quiet.
    pub(crate) fn say(&mut self, text: &str) {
        self.clear();
        let newline = if self.shared && self.terminal && !self.at_line_start {
            "\n"
        } else {
            ""
        };
        // A message ends the output's line only if stderr is the terminal.
        self.at_line_start |= self.terminal;
        put(&format!("{newline}ccb: {}\n", show::message(text)));
    }

    /// Makes room for output on stdout: clears the progress line if stdout is a terminal. `bytes`
    /// is the output that follows.
    pub(crate) fn before_output(&mut self, bytes: &[u8]) {
        if self.shared {
            self.clear();
            if let Some(last) = bytes.last() {
                self.at_line_start = *last == b'\n';
            }
        }
    }

    /// Clears the progress line at the end of the command. On a terminal, also ends the last line
    /// of the output, so that the shell's prompt begins on a new one; a pipe gets only the output.
    pub(crate) fn finish(mut self) {
        self.clear();
        if self.shared && !self.at_line_start {
            // Errors do not matter: a closed terminal needs no newline.
            let _ = std::io::stdout().write_all(b"\n");
            let _ = std::io::stdout().flush();
        }
    }

    /// Clears the progress line, if it is drawn.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            put(CLEAR);
        }
    }

    fn draw(&mut self, text: &str) {
        if self.shared && !self.at_line_start {
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

/// Writes text to stderr and ignores errors, because a closed stderr is no reason to stop.
fn put(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
