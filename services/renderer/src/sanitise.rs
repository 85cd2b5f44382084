//! Repairs an event line that could not be read, by replacing damaged characters in its strings.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::Value;
use serde_json::value::RawValue;

/// Returns the line with U+FFFD in place of each invalid UTF-8 sequence and each escape of half a
/// UTF-16 surrogate pair. Returns `None` if it has neither, because a repair would change no byte.
pub(crate) fn sanitised(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    match (without_lone_halves(&text), text) {
        (Some(clean), _) => Some(clean),
        (None, Cow::Owned(text)) => Some(text),
        (None, Cow::Borrowed(_)) => None,
    }
}

/// Returns the JSON text with `\ufffd` in place of every escape of half a UTF-16 surrogate pair
/// (`\ud800` to `\udfff`) that stands alone. serde_json rejects such escapes. Returns `None` if
/// there are none.
pub(crate) fn without_lone_halves(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut clean = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(distance) = memmem::find(&bytes[from..], b"\\") {
        let at = from + distance;
        from = match (half(bytes, at), half(bytes, at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at + 12,
            (Some(_), _) => {
                clean.push_str(&text[copied..at]);
                clean.push_str("\\ufffd");
                copied = at + 6;
                copied
            }
            // Another escape. Skip its second byte, which may be a backslash that begins no escape.
            (None, _) => (at + 2).min(bytes.len()),
        };
    }
    if copied == 0 {
        return None;
    }
    clean.push_str(&text[copied..]);
    Some(clean)
}

/// Returns the half of a UTF-16 surrogate pair whose escape begins at the byte offset `at`. Returns
/// `None` for anything else.
fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    (0xD800..=0xDFFF).contains(&unit).then_some(unit)
}

/// Parses a part of a line as a JSON value, after a repair of its strings if needed. Returns `None`
/// if that fails, for example because the value is nested too deeply.
pub(crate) fn value(raw: &RawValue) -> Option<Value> {
    let repaired = || serde_json::from_str(&without_lone_halves(raw.get())?).ok();
    serde_json::from_str(raw.get()).ok().or_else(repaired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_halves_are_replaced() {
        assert_eq!(without_lone_halves(r#""\ud83d\ude00 \n é""#), None);
        assert_eq!(
            without_lone_halves(r#""a\ud83d b""#).as_deref(),
            Some(r#""a\ufffd b""#)
        );
        assert_eq!(
            without_lone_halves(r#""\ude00\ud83d""#).as_deref(),
            Some(r#""\ufffd\ufffd""#)
        );
        assert_eq!(
            without_lone_halves(r#""\\ud83d""#),
            None,
            "an escaped backslash, then plain text"
        );
        assert_eq!(sanitised(b"\"\xFF\"").as_deref(), Some("\"\u{FFFD}\""));
        assert_eq!(sanitised(b"\\"), None);
    }
}
