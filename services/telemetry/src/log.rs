//! The set-up of the log, which claude-api and bridge write to stderr in the same way.

use std::io::{IsTerminal, stderr};

use protocol::json::EscapedLines;
use tracing_subscriber::EnvFilter;

/// The format of the log lines on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// Lines for people, in colour if stderr is a terminal.
    Pretty,
}

/// Sets up the log of this process. `filter` selects the lines by level and module. Must be called
/// once, before the first line.
///
/// # Panics
/// If the process has a log already.
pub fn init(filter: EnvFilter, format: Format) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| EscapedLines(stderr()));
    match format {
        Format::Json => builder.json().flatten_event(true).init(),
        // Colours are for a terminal, not for a file or a pipe.
        Format::Pretty if stderr().is_terminal() => builder.init(),
        Format::Pretty => builder.with_ansi(false).init(),
    }
}
