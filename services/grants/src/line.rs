//! The conversion of messages to lines, and back.

use serde::{Serialize, de::DeserializeOwned};

/// The reason why a line is not a message.
#[derive(Debug, thiserror::Error)]
#[error("not a message of the control connection (line {line}, column {column})")]
pub struct LineError {
    line: usize,
    column: usize,
}

/// Returns `message` as one line, with its newline. The messages of this crate have only string
/// keys, so that the conversion cannot fail.
pub fn to_line(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

/// Parses a line, with or without its newline.
///
/// # Errors
/// The line is not a message. The error has no part of the line.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, LineError> {
    serde_json::from_slice(line).map_err(|error| LineError {
        line: error.line(),
        column: error.column(),
    })
}
