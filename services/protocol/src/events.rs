//! The result of the request `events`: a part of the CLI's stdout, normally JSON lines.

use serde::{Deserialize, Serialize};

use crate::ExecutionId;

/// The minimum value of `maxBytes` in the request `events`, in bytes. It is the length of the
/// longest UTF-8 character: with less, a reader could never advance past such a character.
pub const MIN_BYTES: usize = 4;
/// The maximum value of `maxBytes` in the request `events`, in bytes, and also its default. One
/// message of the bridge has at most this size.
pub const MAX_BYTES: usize = crate::SERVER_MESSAGE_BYTES;

/// A part of the CLI's stdout in one execution, normally whole JSON lines. It is the result of the
/// request `events`.
///
/// The part ends after a line, except if its first line alone exceeds the size of an answer. The
/// text is then a piece of that line. A line that a running CLI has not finished yet is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The position of the text's first byte, as an offset in the CLI's stdout, in bytes.
    pub offset: u64,
    /// The text of this part, normally JSON lines. U+FFFD replaces each invalid UTF-8 sequence, so
    /// the text may be longer or shorter than `next_offset - offset` bytes.
    pub text: String,
    /// The offset of the first byte after this part, in bytes of the CLI's stdout. The next request
    /// continues there.
    pub next_offset: u64,
    /// Whether the stdout has ended, so that this is the last part. If false, more may follow, and
    /// an empty text means that the CLI has not finished another line yet.
    pub ended: bool,
}
