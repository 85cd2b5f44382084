//! The last messages of a session, for the message of a failing test.

use std::{collections::VecDeque, fmt};

/// The maximum number of kept messages.
const MESSAGES: usize = 120;
/// The maximum number of kept characters of a message.
const CHARS: usize = 400;

/// The last messages of a session, each shortened.
#[derive(Debug, Default)]
pub(crate) struct Transcript(VecDeque<String>);

impl Transcript {
    /// Adds a message of the client.
    pub(crate) fn sent(&mut self, text: &str) {
        self.note("->", text);
    }

    /// Adds a message of the bridge.
    pub(crate) fn received(&mut self, text: &str) {
        self.note("<-", text);
    }

    fn note(&mut self, way: &str, text: &str) {
        if self.0.len() == MESSAGES {
            self.0.pop_front();
        }
        let short = text.char_indices().nth(CHARS);
        let line = match short {
            None => format!("{way} {text}"),
            Some((end, _)) => format!("{way} {}... ({} bytes)", &text[..end], text.len()),
        };
        self.0.push_back(line);
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
