//! Writes stdout so that signals are handled meanwhile, and flushes after each message. A file or a
//! pipe gets every byte unchanged; a terminal gets no control characters.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use tokio::io::{AsyncWriteExt, Stdout};

use crate::show;

/// A writer of stdout for async code, so that a slow reader does not block the program.
pub(crate) struct StdoutWriter {
    stdout: Stdout,
    terminal: bool,
}

impl StdoutWriter {
    pub(crate) fn new() -> Self {
        Self {
            stdout: tokio::io::stdout(),
            terminal: io::stdout().is_terminal(),
        }
    }

    /// Writes the bytes to stdout and flushes. The error is that of the write or of the flush.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bytes = if self.terminal {
            Cow::Owned(show::for_terminal(bytes))
        } else {
            Cow::Borrowed(bytes)
        };
        self.stdout.write_all(&bytes).await?;
        self.stdout.flush().await
    }
}

/// Returns a JSON message as one line for stdout. On a terminal, control characters are escaped.
pub(crate) fn json_line(message: &str) -> String {
    let mut line = if message.contains(['\n', '\r']) {
        serde_json::from_str::<serde_json::Value>(message)
            .map_or_else(|_| message.to_owned(), |v| v.to_string())
    } else {
        message.to_owned()
    };
    if io::stdout().is_terminal() {
        line = show::json_for_terminal(&line);
    }
    line.push('\n');
    line
}
