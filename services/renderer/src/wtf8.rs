//! Strings of JSON that need not be strings of Unicode.
//!
//! JavaScript cuts strings between the halves of a surrogate pair, so one event can end in `"\ud83d"` and the
//! next begin with `"\ude00"`. `serde_json` refuses these as `str` and gives them, when asked for bytes, in
//! WTF-8: a half is three bytes, `ED A0..BF 80..BF`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A JSON string as WTF-8 bytes, borrowed from the line unless it holds escapes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw<'a>(Cow<'a, [u8]>);

impl Raw<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The string with U+FFFD for what is not Unicode.
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

/// WTF-8 as text: lone halves and other invalid sequences become U+FFFD.
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

/// Decodes strings that follow each other: a high half at the end of one is joined with a low half at the
/// start of the next.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    high: Option<u16>,
}

impl Decoder {
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut String) {
        while !bytes.is_empty() {
            let (valid, rest) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, &[][..]),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    (std::str::from_utf8(valid).unwrap_or_default(), rest)
                }
            };
            if !valid.is_empty() {
                self.finish(out);
                out.push_str(valid);
            }
            bytes = self.invalid(rest, out);
        }
    }

    /// Ends the run of strings: a half that waits for its other half becomes U+FFFD.
    pub(crate) fn finish(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// Forgets a half that waits.
    pub(crate) fn clear(&mut self) {
        self.high = None;
    }

    /// Takes one invalid sequence off the front.
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
        if half < 0xDC00 {
            self.finish(out);
            self.high = Some(half);
        } else if let Some(high) = self.high.take() {
            out.extend(
                char::decode_utf16([high, half]).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
            );
        } else {
            out.push(char::REPLACEMENT_CHARACTER);
        }
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
