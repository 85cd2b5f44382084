//! JSON strings that need not be valid Unicode. They are read without an error, and invalid parts
//! are replaced.
//!
//! JavaScript can cut a string between the halves of a surrogate pair, so one event can end in
//! `"\ud83d"` and the next begin with `"\ude00"`. `serde_json` rejects these as `str`, but returns
//! them as bytes in WTF-8: a half is three bytes, `ED A0..BF 80..BF`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

/// A JSON string as bytes in WTF-8, which is UTF-8 that may contain halves of UTF-16 surrogate
/// pairs. It is borrowed from the line unless it contains escapes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw<'a>(Cow<'a, [u8]>);

impl Raw<'_> {
    /// Returns the string as WTF-8.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the string as valid text, with U+FFFD in place of each lone half of a surrogate
    /// pair.
    pub(crate) fn text(&self) -> String {
        decode(&self.0).into_owned()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Borrowed(bytes)))
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Owned(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A JSON string in its escaped form, as it stands between its quotes in the line. It may have
/// megabytes, so it is decoded only on use, directly into the destination. A JSON value that is not
/// a string counts as an empty string.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    /// Returns true if the string is empty, or if the JSON value was not a string.
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns the decoded string, with U+FFFD in place of each lone half of a surrogate pair.
    pub(crate) fn text(self) -> Cow<'a, str> {
        if memchr::memchr(b'\\', self.0.as_bytes()).is_none() {
            return Cow::Borrowed(self.0);
        }
        // No escape is shorter than its decoded character.
        let mut text = String::with_capacity(self.0.len());
        self.decode(usize::MAX, &mut text);
        Cow::Owned(text)
    }

    /// Decodes at least the first `bytes` bytes of the string, and not many more. Decodes all of a
    /// shorter string.
    pub(crate) fn beginning(self, bytes: usize) -> String {
        let mut text = String::new();
        self.decode(bytes, &mut text);
        text
    }

    /// Decodes the string into `out`, and stops soon after `bytes` bytes.
    fn decode(self, bytes: usize, out: &mut String) {
        let (mut rest, mut decoder) = (self.0, Decoder::default());
        while !rest.is_empty() && out.len() < bytes {
            let plain = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
            let (text, escape) = rest.split_at(rest.floor_char_boundary(plain.min(bytes)));
            decoder.text(text, out);
            rest = match escape.strip_prefix('\\') {
                Some(escape) => decoder.escape(escape, out),
                None => escape,
            };
        }
        decoder.finish(out);
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Literal<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let string = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        Ok(Self(string.unwrap_or_default()))
    }
}

/// Decodes WTF-8, which is UTF-8 that may contain halves of UTF-16 surrogate pairs. Lone halves and
/// other invalid sequences become U+FFFD.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut decoder = Decoder::default();
    decoder.push(bytes, &mut text);
    decoder.finish(&mut text);
    Cow::Owned(text)
}

/// Decodes consecutive strings of WTF-8, such as the pieces of one streamed text. Joins the first
/// half of a surrogate pair at the end of one string with the second half at the start of the next.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The first half of a surrogate pair whose second half has not arrived yet.
    high: Option<u16>,
}

impl Decoder {
    /// Decodes the next string, and appends it to `out`. Holds the first half of a surrogate pair
    /// at its end for the next string. Invalid sequences become U+FFFD.
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut String) {
        while !bytes.is_empty() {
            let (valid, rest) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, &[][..]),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    (std::str::from_utf8(valid).unwrap_or_default(), rest)
                }
            };
            self.text(valid, out);
            bytes = self.invalid(rest, out);
        }
    }

    /// Appends valid text, after U+FFFD for a first half that is still held.
    fn text(&mut self, text: &str, out: &mut String) {
        if !text.is_empty() {
            self.finish(out);
            out.push_str(text);
        }
    }

    /// Decodes one JSON escape at the start of `text`, whose backslash is already removed, and
    /// returns the rest. A malformed `\u` escape becomes U+FFFD.
    fn escape<'t>(&mut self, text: &'t str, out: &mut String) -> &'t str {
        let mut rest = text.chars();
        let plain = match rest.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('u') => {
                let (digits, rest) = text[1..].split_at_checked(4).unwrap_or_default();
                match u16::from_str_radix(digits, 16) {
                    Ok(unit) => self.unit(unit, out),
                    Err(_) => self.text("\u{FFFD}", out),
                }
                return rest;
            }
            Some(other) => other,
            None => return "",
        };
        self.finish(out);
        out.push(plain);
        rest.as_str()
    }

    /// Decodes one 16-bit unit of UTF-16, which may be half of a surrogate pair.
    fn unit(&mut self, unit: u16, out: &mut String) {
        match (unit, self.high) {
            (0xD800..=0xDBFF, _) => {
                self.finish(out);
                self.high = Some(unit);
            }
            (0xDC00..=0xDFFF, Some(high)) => {
                self.high = None;
                out.extend(
                    char::decode_utf16([high, unit])
                        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
            }
            _ => {
                self.finish(out);
                let c = char::from_u32(u32::from(unit));
                out.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
    }

    /// Ends the last string. The first half of a surrogate pair that is still held becomes U+FFFD.
    pub(crate) fn finish(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// Discards the first half of a surrogate pair that is still held.
    pub(crate) fn clear(&mut self) {
        self.high = None;
    }

    /// Decodes the half of a surrogate pair or the invalid sequence at the start of `bytes`, and
    /// returns the rest.
    fn invalid<'b>(&mut self, bytes: &'b [u8], out: &mut String) -> &'b [u8] {
        let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, rest @ ..] = bytes else {
            let Err(error) = std::str::from_utf8(bytes) else {
                return bytes;
            };
            self.finish(out);
            out.push(char::REPLACEMENT_CHARACTER);
            return &bytes[error.error_len().unwrap_or(bytes.len())..];
        };
        let half = 0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F);
        self.unit(half, out);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[&[u8]]) -> String {
        let mut text = String::new();
        let mut decoder = Decoder::default();
        for part in parts {
            decoder.push(part, &mut text);
        }
        decoder.finish(&mut text);
        text
    }

    fn literal(json: &str) -> Literal<'_> {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn a_literal_is_decoded_as_serde_decodes_it() {
        for json in [
            r#""""#,
            r#""plain é""#,
            r#""\n\t\r\b\f\/\\\" é\u00e9\u0000\ud83d\ude00 \u20acx""#,
        ] {
            let expected: String = serde_json::from_str(json).expect("JSON");
            assert_eq!(literal(json).text(), expected);
            for bytes in 0..expected.len() {
                let beginning = literal(json).beginning(bytes);
                assert!(beginning.len() >= bytes.min(expected.len()));
                assert!(expected.starts_with(&beginning), "{bytes} {beginning:?}");
            }
        }
        assert_eq!(literal(r#""a\ud83d""#).text(), "a\u{FFFD}");
        assert_eq!(literal(r#""\ude00\ud83db""#).text(), "\u{FFFD}\u{FFFD}b");
        assert_eq!(literal("[1]").text(), "");
    }

    const HIGH: &[u8] = b"\xED\xA0\xBD";
    const LOW: &[u8] = b"\xED\xB8\x80";

    #[test]
    fn halves_are_joined_across_strings() {
        assert_eq!(joined(&[b"x ", HIGH, LOW, b" y"]), "x \u{1F600} y");
        assert_eq!(joined(&[&[HIGH, LOW].concat()]), "\u{1F600}");
        assert_eq!(joined(&[HIGH, b"", LOW]), "\u{1F600}");
    }

    #[test]
    fn lone_halves_and_garbage_are_replaced() {
        assert_eq!(joined(&[HIGH, b"y"]), "\u{FFFD}y");
        assert_eq!(joined(&[HIGH, HIGH, LOW]), "\u{FFFD}\u{1F600}");
        assert_eq!(joined(&[LOW, b"\xFF", HIGH]), "\u{FFFD}\u{FFFD}\u{FFFD}");
        assert_eq!(decode(b"a\xE2\x82"), "a\u{FFFD}");
    }
}
