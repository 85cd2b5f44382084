//! stdout, written raw and flushed per message, without holding up signals.

use std::io;

use tokio::io::{AsyncWriteExt, Stdout};

pub(crate) struct Sink(Stdout);

impl Sink {
    pub(crate) fn new() -> Self {
        Self(tokio::io::stdout())
    }

    /// Writes and flushes. The flush is what reports errors of the write before.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }
}

/// A message as one line.
pub(crate) fn json_line(message: &str) -> String {
    let mut line = if message.contains(['\n', '\r']) {
        serde_json::from_str::<serde_json::Value>(message)
            .map_or_else(|_| message.to_owned(), |v| v.to_string())
    } else {
        message.to_owned()
    };
    line.push('\n');
    line
}
