//! Writes to stdout without blocking the handling of signals, and flushes after each message. A
//! file or a pipe gets every byte unchanged. A terminal gets no control characters, because text of
//! a model must not control it.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use tokio::io::{AsyncWriteExt, Stdout};

use crate::show;

/// An async writer of stdout, so that Ctrl-C is handled while a slow reader delays the output.
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

    /// Writes the bytes to stdout and flushes. On a terminal, control characters are replaced.
    /// Returns the error of the write or the flush, for example EPIPE if the reader has closed the
    /// pipe.
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

/// Returns a JSON text as one line for stdout, with a newline at its end. If stdout is a terminal,
/// control characters are escaped.
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
