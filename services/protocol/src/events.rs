//! The result of the request `events`: a part of the CLI's stdout, normally JSON lines.

use serde::{Deserialize, Serialize};

use crate::ExecutionId;

/// The minimum `maxBytes` of the request `events`, in bytes. The longest UTF-8 character must fit,
/// or a reader would never advance.
pub const MIN_BYTES: usize = 4;
/// The maximum `maxBytes` of the request `events`, in bytes; also the default.
pub const MAX_BYTES: usize = crate::SERVER_MESSAGE_BYTES;

/// A part of the events of an execution: the stdout of its CLI.
///
/// The part ends between two lines. If the first line does not fit, it is a piece of that line. A
/// line that a live CLI has not finished is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The id of the execution.
    pub execution_id: ExecutionId,
    /// The offset of the text's first byte, in bytes of the CLI's stdout.
    pub offset: u64,
    /// The events. U+FFFD replaces each invalid UTF-8 sequence, so the text may be longer or
    /// shorter than `next_offset - offset`.
    pub text: String,
    /// The `offset` with which to request the next part, in bytes of the CLI's stdout.
    pub next_offset: u64,
    /// Whether this part is the last one. If false, an empty text means that the CLI has not
    /// finished another line yet.
    pub ended: bool,
}
