//! A part of the events of an execution: the CLI's stdout as it was, which is JSON lines when the
//! CLI behaves.

use serde::{Deserialize, Serialize};

use crate::ExecutionId;

/// The least `maxBytes` of the method `events`: any character fits.
pub const MIN_BYTES: usize = 4;
/// The most `maxBytes` of the method `events`, and the default.
pub const MAX_BYTES: usize = crate::SERVER_MESSAGE_BYTES;

/// The answer to the method `events`.
///
/// It holds whole lines if at least one fits, otherwise a part of one. An unfinished last line of a
/// live execution is left for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Where the text begins, in bytes of the CLI's stdout.
    pub offset: u64,
    /// The events; U+FFFD stands for each sequence that is no UTF-8.
    pub text: String,
    /// Where the next part begins, in bytes of the CLI's stdout.
    pub next_offset: u64,
    /// Nothing follows. While it is false, an empty text means that no further line is there yet.
    pub ended: bool,
}
