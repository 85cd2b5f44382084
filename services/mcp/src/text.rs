//! The text of an execution's output in one tool result, which is cut at a size limit.

use std::ops::Range;

use bytes::Bytes;
use serde_json::{Value, json};

/// A buffer for the output of an execution in one tool result, from an offset up to a size limit.
/// It does no I/O.
///
/// The bytes in it are the whole output from the start to [`Text::next`], except for the ranges in
/// `gaps`. Output after the limit is ignored, and so is a UTF-8 character that does not fit
/// completely.
#[derive(Debug)]
pub(crate) struct Text {
    /// The offset of the first byte in the buffer. If the requested offset is inside a UTF-8
    /// character, this is the offset of the character's first byte.
    start: u64,
    next: u64,
    bytes: Vec<u8>,
    limit: usize,
    gaps: Vec<Range<u64>>,
    /// Whether output was ignored because the limit is reached.
    cut: bool,
}

impl Text {
    /// Creates an empty buffer for at most `limit` bytes of output from the offset `start`.
    pub(crate) fn new(start: u64, limit: usize) -> Self {
        Self {
            start,
            next: start,
            bytes: Vec::new(),
            limit,
            gaps: Vec::new(),
            cut: false,
        }
    }

    /// Returns whether the size limit is reached. Further output is then ignored, so the caller can
    /// stop reading.
    pub(crate) fn is_full(&self) -> bool {
        self.cut || self.bytes.len() >= self.limit
    }

    /// Returns the offset after the output in the buffer, where the client's next call continues.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a piece of output that begins at this offset, as far as it fits. The caller adds pieces
    /// in order.
    pub(crate) fn push(&mut self, offset: u64, piece: &Bytes) {
        if self.cut {
            return;
        }
        if self.bytes.is_empty() && self.gaps.is_empty() {
            self.start = offset;
        }
        let room = self.limit - self.bytes.len();
        let fitting = floor_char_boundary(piece, room);
        self.cut = fitting < piece.len();
        self.bytes.extend_from_slice(&piece[..fitting]);
        self.next = offset + fitting as u64;
    }

    /// Adds a range of the output, in bytes, that was not received because it is no longer kept or
    /// was skipped.
    pub(crate) fn gap(&mut self, missing: Range<u64>) {
        if !self.cut {
            self.next = missing.end;
            self.gaps.push(missing);
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Adds the text, its offsets and its gaps to the JSON object of a tool result.
    pub(crate) fn describe(&self, result: &mut Value) {
        let Self {
            start,
            next,
            gaps,
            cut,
            ..
        } = self;
        let gaps: Vec<_> = gaps
            .iter()
            .map(|gap| json!({ "from": gap.start, "to": gap.end }))
            .collect();
        result["text"] = self.text().into();
        result["offset"] = (*start).into();
        result["nextOffset"] = (*next).into();
        result["truncated"] = (*cut).into();
        result["gaps"] = gaps.into();
    }
}

/// Returns the length of the longest prefix that has at most `max` bytes and does not end inside a
/// UTF-8 character.
fn floor_char_boundary(bytes: &[u8], max: usize) -> usize {
    if bytes.len() <= max {
        return bytes.len();
    }
    let begins = |byte: u8| byte & 0b1100_0000 != 0b1000_0000;
    (0..=max).rev().find(|at| begins(bytes[*at])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &Text) -> Value {
        let mut result = json!({});
        text.describe(&mut result);
        result
    }

    #[test]
    fn output_is_cut_between_characters_and_continues_at_the_next_offset() {
        let mut text = Text::new(0, 5);
        text.push(0, &Bytes::from_static(b"abc"));
        assert!(!text.is_full());
        text.push(3, &Bytes::from("\u{20ac}uro")); // 3 bytes: one too many
        assert!(text.is_full());
        text.push(9, &Bytes::from_static(b"x"));
        assert_eq!(
            members(&text),
            json!({"text": "abc", "offset": 0, "nextOffset": 3, "truncated": true, "gaps": []})
        );
    }

    #[test]
    fn output_that_fits_exactly_is_not_truncated() {
        let mut text = Text::new(7, 3);
        text.push(7, &Bytes::from_static(b"abc"));
        assert!(text.is_full());
        assert_eq!(
            members(&text),
            json!({"text": "abc", "offset": 7, "nextOffset": 10, "truncated": false, "gaps": []})
        );
    }

    #[test]
    fn a_piece_may_begin_before_the_offset_and_gaps_are_listed() {
        let mut text = Text::new(2, 100);
        text.push(1, &Bytes::from("\u{20ac}"));
        text.gap(4..9);
        text.push(9, &Bytes::from_static(b"end"));
        assert_eq!(
            members(&text),
            json!({"text": "\u{20ac}end", "offset": 1, "nextOffset": 12, "truncated": false,
                   "gaps": [{"from": 4, "to": 9}]})
        );
    }
}
