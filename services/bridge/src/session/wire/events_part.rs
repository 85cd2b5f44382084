//! The answer to an `events` request, which holds a part of an execution's events, cut to the
//! length of a message (docs/protocol.md, "Request parameters"). Its `nextOffset` is the offset of
//! the next part. During the call to claude-api, a part uses the same memory budget as a list
//! ([`crate::budget::lists`]).

use bytes::Bytes;
use protocol::{Events, ExecutionId};

/// The most bytes of JSON around the text of a part. They hold the names of the members, two
/// offsets and an id.
const ENVELOPE_BYTES: usize = 192;

/// A part of the events of one execution (lines of its CLI's stdout), as claude-api returned it. It
/// becomes the answer to an `events` request.
#[derive(Debug)]
pub struct EventsPart {
    /// The id of the execution.
    pub id: ExecutionId,
    /// The position of the first byte of the part within the CLI's stdout, in bytes.
    pub offset: u64,
    /// The bytes of stdout from `offset` on. At most as many as requested, and possibly none. The
    /// last line may be incomplete.
    pub bytes: Bytes,
    /// Whether claude-api had no more bytes after these when it answered.
    pub is_all: bool,
    /// Whether the CLI has ended, so that no more events follow.
    pub ended: bool,
}

impl EventsPart {
    /// Encodes the result of an `events` request, with as many whole lines as fit into `limit`
    /// bytes of JSON. If not even the first line fits, a part of it is sent. `nextOffset` names the
    /// first byte that is left out, from which the client continues. Bytes that are not UTF-8
    /// become U+FFFD.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> String {
        serde_json::json!(self.cut(limit.saturating_sub(ENVELOPE_BYTES))).to_string()
    }

    /// Cuts the text to whole lines whose JSON has at most `room` bytes. A last line without an end
    /// is left out while the CLI may still write the rest of it.
    fn cut(&self, room: usize) -> Events {
        let Self {
            id,
            offset,
            bytes,
            is_all,
            ended,
        } = self;
        let fit = Fit::measure(bytes, room, !is_all);
        let is_cut = fit.bytes < bytes.len() || !is_all;
        let used = match fit.lines {
            _ if !is_cut && *ended => bytes.len(),
            // The rest of the line is not written yet.
            None if !is_cut => 0,
            None => fit.bytes,
            Some(lines) => lines,
        };
        Events {
            execution_id: *id,
            offset: *offset,
            text: String::from_utf8_lossy(&bytes[..used]).into_owned(),
            next_offset: offset + used as u64,
            ended: *ended && *is_all && used == bytes.len(),
        }
    }
}

/// The number of bytes of a text that fit into a limit on its JSON string. The JSON may be longer
/// than the text, because some characters are escaped.
struct Fit {
    /// The number of bytes up to the last character that fits.
    bytes: usize,
    /// The number of bytes up to the end of the last line that fits. `None` if no whole line fits.
    lines: Option<usize>,
}

impl Fit {
    /// Measures how many of the `bytes` fit into `room` bytes of JSON. If more bytes follow
    /// (`has_more`), an incomplete character at the end is left for the next part.
    fn measure(bytes: &[u8], room: usize, has_more: bool) -> Self {
        let mut fit = Self {
            bytes: 0,
            lines: None,
        };
        let mut used = 0;
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                used += json_bytes(c);
                if used > room {
                    return fit;
                }
                fit.bytes += c.len_utf8();
                if c == '\n' {
                    fit.lines = Some(fit.bytes);
                }
            }
            let invalid = chunk.invalid();
            if !invalid.is_empty() {
                let is_unfinished = fit.bytes + invalid.len() == bytes.len()
                    && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
                used += char::REPLACEMENT_CHARACTER.len_utf8();
                if used > room || (has_more && is_unfinished) {
                    return fit;
                }
                fit.bytes += invalid.len();
            }
        }
        fit
    }
}

/// Returns how many bytes a character needs in a JSON string, with the escapes that `serde_json`
/// writes.
fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests;
