//! A part of the events as an answer (docs/protocol.md, "Request parameters"), cut to the length of
//! a message. `nextOffset` is the offset of the next part. During the call to claude-api, a part
//! uses the same memory budget as a list ([`crate::budget::lists`]).

use bytes::Bytes;
use protocol::{Events, ExecutionId};

/// The most bytes of the members around the text, two offsets and an id included.
const ENVELOPE_BYTES: usize = 192;

/// A part of the events of one execution, as claude-api returned it.
#[derive(Debug)]
pub struct EventsPart {
    /// The execution.
    pub id: ExecutionId,
    /// The offset of the first byte, in bytes of the CLI's stdout.
    pub offset: u64,
    /// The CLI's bytes, at most as many as requested.
    pub bytes: Bytes,
    /// Whether these are all bytes that claude-api had.
    pub is_all: bool,
    /// Whether the events had ended: claude-api will have no more bytes.
    pub ended: bool,
}

impl EventsPart {
    /// Encodes as many whole lines as fit into `limit` bytes of JSON, or a part of the first one.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> String {
        serde_json::json!(self.cut(limit.saturating_sub(ENVELOPE_BYTES))).to_string()
    }

    /// Cuts the text to `room` bytes of JSON.
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

/// The part of some bytes that fits, as text, into a limit of bytes of JSON.
struct Fit {
    /// Bytes up to the last character that fits.
    bytes: usize,
    /// Bytes up to the end of the last line that fits.
    lines: Option<usize>,
}

impl Fit {
    /// Measures the part of `bytes` that fits into `room` bytes. `has_more`: more bytes follow, so
    /// the last ones may be the start of a character.
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

/// The length of a character in a JSON text, as `serde_json` writes it.
fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests;
