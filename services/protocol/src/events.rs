//! A part of the events of an execution: the CLI's unchanged stdout, normally JSON lines.

use serde::{Deserialize, Serialize};

use crate::ExecutionId;

/// The minimum `maxBytes` of the method `events`: the length of the longest character.
pub const MIN_BYTES: usize = 4;
/// The maximum `maxBytes` of the method `events`, and the default.
pub const MAX_BYTES: usize = crate::SERVER_MESSAGE_BYTES;

/// The answer to the method `events`.
///
/// It holds whole lines if at least one fits, otherwise a part of one. It does not include an
/// unfinished last line of a live execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The offset of the text's first byte, in bytes of the CLI's stdout.
    pub offset: u64,
    /// The events; U+FFFD replaces each sequence that is not UTF-8.
    pub text: String,
    /// The offset of the next part, in bytes of the CLI's stdout.
    pub next_offset: u64,
    /// Whether no events follow. If false, an empty text means that there is no further line yet.
    pub ended: bool,
}
