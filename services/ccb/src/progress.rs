//! State and activity on stderr: one line that is written over on a terminal, otherwise a line per change.

use std::io::{IsTerminal, Write};

use client::StatusUpdate;

use crate::show;

const CLEAR: &str = "\r\x1b[K";
/// Longer would wrap on a narrow terminal, and a wrapped line cannot be written over.
const WIDTH: usize = 78;

pub(crate) struct Progress {
    quiet: bool,
    /// stderr is a terminal.
    terminal: bool,
    /// stdout is one too: a line drawn there must be gone before output is written, and may only begin at the
    /// beginning of a line.
    shared: bool,
    at_line_start: bool,
    drawn: bool,
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

    /// A status came.
    pub(crate) fn status(&mut self, update: &StatusUpdate) {
        let mut doing = show::doing(&update.status);
        if let Some(upstream) = update.upstream {
            doing = format!("{doing}, claude-api {}", upstream.as_str());
        }
        self.doing(doing, Some(update.elapsed_ms));
    }

    pub(crate) fn doing(&mut self, doing: String, elapsed_ms: Option<u64>) {
        if self.quiet {
            return;
        }
        let doing = show::one_line(&doing);
        let changed = doing != self.last;
        self.last = doing;
        if self.terminal {
            let time = elapsed_ms
                .map(|ms| format!(" {}", show::time(ms)))
                .unwrap_or_default();
            self.draw(&format!("{}{time}", self.last));
        } else if changed {
            put(&format!("ccb: {}\n", self.last));
        }
    }

    /// Something that stays to be read.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Also when quiet.
    pub(crate) fn say(&mut self, text: &str) {
        self.clear();
        let fresh = if self.shared && self.terminal && !self.at_line_start {
            "\n"
        } else {
            ""
        };
        // A message that goes elsewhere ends no line on stdout.
        self.at_line_start |= self.terminal;
        put(&format!("{fresh}ccb: {}\n", show::message(text)));
    }

    /// Output is about to be written.
    pub(crate) fn before_output(&mut self, bytes: &[u8]) {
        if self.shared {
            self.clear();
            if let Some(last) = bytes.last() {
                self.at_line_start = *last == b'\n';
            }
        }
    }

    /// Nothing more comes. On a terminal the shell's prompt begins a line of its own; a pipe gets the output alone.
    pub(crate) fn finish(mut self) {
        self.clear();
        if self.shared && !self.at_line_start {
            // A terminal that is gone needs no new line.
            let _ = std::io::stdout().write_all(b"\n");
            let _ = std::io::stdout().flush();
        }
    }

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

/// A stderr that is gone is no reason to stop.
fn put(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
