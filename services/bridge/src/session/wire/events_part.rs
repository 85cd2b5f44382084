//! Parts of the events, each at most as long as a message may be. `nextOffset` names the next part.
//!
//! The memory of a part while claude-api is asked is of the same budget as a list's
//! ([`crate::budget::lists`]).

use bytes::Bytes;
use protocol::{Events, ExecutionId};

/// The names around the text, two offsets and an id, in bytes.
const FRAME_BYTES: usize = 192;

/// A part of the events of one execution, as claude-api gave it.
#[derive(Debug)]
pub struct EventsPart {
    /// The execution.
    pub id: ExecutionId,
    /// The offset of the first byte, in bytes of the CLI's stdout.
    pub offset: u64,
    /// The CLI's own bytes, at most as many as the request asked for.
    pub bytes: Bytes,
    /// Whether claude-api had no more bytes than these.
    pub is_all: bool,
    /// Whether nothing follows what claude-api had.
    pub ended: bool,
}

impl EventsPart {
    /// The JSON of as many whole lines as fit, or of a part of the first one.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> String {
        serde_json::json!(self.cut(limit.saturating_sub(FRAME_BYTES))).to_string()
    }

    /// Cuts the text to so many bytes of JSON.
    fn cut(&self, room: usize) -> Events {
        let Self {
            id,
            offset,
            bytes,
            is_all,
            ended,
        } = self;
        let fit = Fit::of(bytes, room, !is_all);
        let is_cut = fit.bytes < bytes.len() || !is_all;
        let used = match fit.lines {
            _ if !is_cut && *ended => bytes.len(),
            // The rest of a line is still to be written.
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

/// How much of some bytes fits, as text, into so many bytes of JSON.
struct Fit {
    /// Bytes up to the last character that fits.
    bytes: usize,
    /// Bytes up to the end of the last line that fits.
    lines: Option<usize>,
}

impl Fit {
    /// `goes_on`: more bytes follow, so that the last ones may begin a character.
    fn of(bytes: &[u8], room: usize, goes_on: bool) -> Self {
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
                if used > room || (goes_on && is_unfinished) {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(bytes: &[u8], is_all: bool, ended: bool) -> EventsPart {
        EventsPart {
            id: ExecutionId::random(),
            offset: 10,
            bytes: Bytes::copy_from_slice(bytes),
            is_all,
            ended,
        }
    }

    fn cut(bytes: &[u8], is_all: bool, ended: bool) -> (String, u64, bool) {
        let Events {
            text,
            next_offset,
            ended,
            ..
        } = part(bytes, is_all, ended).cut(1000);
        (text, next_offset, ended)
    }

    #[test]
    fn a_part_is_whole_lines_and_the_rest_is_for_later() {
        let text = |text: &str, next, ended| (text.to_owned(), next, ended);
        // All that there is, of one that ended and of one that runs.
        assert_eq!(cut(b"{}\n{", true, true), text("{}\n{", 14, true));
        assert_eq!(cut(b"{}\n", true, false), text("{}\n", 13, false));
        assert_eq!(cut(b"{}\n{", true, false), text("{}\n", 13, false));
        assert_eq!(cut(b"{\xe2\x82", true, false), text("", 10, false));
        assert_eq!(cut(b"", true, true), text("", 10, true));
        // More than the limit of the request.
        assert_eq!(cut(b"{}\n{\"", false, true), text("{}\n", 13, false));
        assert_eq!(cut(b"abc\xe2\x82", false, true), text("abc", 13, false));
        assert_eq!(
            cut(b"a\xffb\xe2", true, true),
            text("a\u{fffd}b\u{fffd}", 14, true)
        );
    }

    #[test]
    fn a_line_that_fits_no_message_is_cut_between_characters() {
        let long = "\u{20ac}\"".repeat(100);
        let events = part(long.as_bytes(), true, true).cut(23);
        assert_eq!(events.text, "\u{20ac}\"".repeat(4) + "\u{20ac}");
        assert_eq!((events.next_offset, events.ended), (10 + 19, false));
    }

    proptest! {
        #[test]
        fn parts_join_to_the_events_and_fit_their_messages(
            bytes in prop::collection::vec(prop_oneof![
                Just(b"\n".to_vec()), Just(b"\"\\\x01".to_vec()), Just("\u{1F600}".as_bytes().to_vec()),
                Just(vec![0xff]), Just(vec![0xf0, 0x9f]), "[a-z]{1,9}".prop_map(String::into_bytes),
            ], 0..30).prop_map(|parts| parts.concat()),
            limit in 4_usize..40, room in 0_usize..60,
        ) {
            let (mut at, mut joined) = (0, Vec::new());
            loop {
                let end = bytes.len().min(at + limit);
                let part = EventsPart {
                    offset: at as u64,
                    ..part(&bytes[at..end], end == bytes.len(), true)
                };
                let json = part.to_json(FRAME_BYTES + 6 + room);
                prop_assert!(json.len() <= FRAME_BYTES + 6 + room, "{}", json);
                let events: Events = serde_json::from_str(&json).unwrap();
                let next = events.next_offset as usize;
                prop_assert_eq!(events.offset as usize, at);
                prop_assert!(next > at || (events.ended && next == bytes.len()));
                let own = &bytes[at..next];
                prop_assert_eq!(events.text, String::from_utf8_lossy(own));
                joined.extend_from_slice(own);
                at = next;
                if events.ended {
                    break;
                }
            }
            prop_assert_eq!(joined, bytes);
        }
    }
}
