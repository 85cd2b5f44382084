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

/// Checks the arguments `--log-level` and `--log-format` of a service, and returns the format. Adds
/// a text to `mistakes` for each wrong one, and returns [`Format::Json`] for a wrong format.
pub fn check(level: &str, format: &str, mistakes: &mut Vec<String>) -> Format {
    if let Err(error) = EnvFilter::try_new(level) {
        mistakes.push(format!("--log-level {level:?}: {error}"));
    }
    match format.trim() {
        "json" => Format::Json,
        "pretty" => Format::Pretty,
        other => {
            mistakes.push(format!("--log-format {other:?}: json or pretty is needed"));
            Format::Json
        }
    }
}

/// Sets up the log of this process. `filter` selects the lines by level and module. Call it once,
/// before the first line.
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
