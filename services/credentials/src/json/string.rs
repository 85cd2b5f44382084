//! The content of a name or string, one byte at a time (RFC 8259, section 7).

use super::Text;
use super::utf8::Rest;

/// The place within a name or string.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Between two characters.
    Plain,
    /// In a character outside of ASCII.
    Character(Rest),
    /// After a backslash.
    Escape,
    /// In the four digits of `\u`: their value so far and their number.
    Unicode(u16, u8),
}

/// The reader of one name or string after another.
#[derive(Debug)]
pub(super) struct StringReader {
    part: Part,
    text: Text,
    /// The first half of a surrogate pair whose second half must follow to make a character.
    high_surrogate: Option<u16>,
}

impl Default for StringReader {
    fn default() -> Self {
        Self {
            part: Part::Plain,
            text: Text::default(),
            high_surrogate: None,
        }
    }
}

impl StringReader {
    /// Begins a name or string, after its opening quote.
    pub(super) fn begin(&mut self) {
        self.part = Part::Plain;
        self.text.clear();
        self.high_surrogate = None;
    }

    /// Returns the content so far.
    pub(super) fn text(&self) -> &Text {
        &self.text
    }

    /// Takes the plain characters at the beginning of `bytes`, and returns their number.
    pub(super) fn take_plain(&mut self, bytes: &[u8]) -> usize {
        if self.part != Part::Plain {
            return 0;
        }
        let plain = bytes.iter().position(|byte| is_special(*byte));
        let plain = plain.unwrap_or(bytes.len());
        if plain > 0 {
            self.end_surrogate();
            self.text.push(&bytes[..plain]);
        }
        plain
    }

    /// Takes a byte. Returns whether it is the closing quote.
    ///
    /// # Errors
    /// The byte cannot be here; the text says why.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, &'static str> {
        self.part = match (&mut self.part, byte) {
            (Part::Plain, b'"') => {
                self.end_surrogate();
                return Ok(true);
            }
            (Part::Plain, b'\\') => Part::Escape,
            (Part::Plain, 0..0x20) => return Err("a control character is not escaped"),
            (Part::Plain, 0x80..) => {
                let rest = Rest::begin(byte).ok_or("a string is not UTF-8")?;
                self.end_surrogate();
                self.text.push(&[byte]);
                Part::Character(rest)
            }
            (Part::Plain, _) => {
                self.end_surrogate();
                self.text.push(&[byte]);
                Part::Plain
            }
            (Part::Character(rest), byte) => {
                let is_complete = rest.take(byte).ok_or("a string is not UTF-8")?;
                self.text.push(&[byte]);
                if is_complete {
                    Part::Plain
                } else {
                    return Ok(false);
                }
            }
            (Part::Escape, b'u') => Part::Unicode(0, 0),
            (Part::Escape, byte) => {
                let c = unescaped(byte).ok_or("an escape is unknown")?;
                self.end_surrogate();
                self.text.push_char(c);
                Part::Plain
            }
            (Part::Unicode(value, count), byte) => {
                let digit = char::from(byte).to_digit(16);
                let digit = digit.and_then(|digit| u16::try_from(digit).ok());
                let digit = digit.ok_or("an escape has a digit that is not hexadecimal")?;
                let (value, count) = ((*value << 4) | digit, *count + 1);
                if count < 4 {
                    Part::Unicode(value, count)
                } else {
                    self.push_unit(value);
                    Part::Plain
                }
            }
        };
        Ok(false)
    }

    /// Appends the value of an escape `\u`, which is one unit of UTF-16.
    fn push_unit(&mut self, unit: u16) {
        let is_low = (0xdc00..0xe000).contains(&unit);
        if is_low && let Some(high) = self.high_surrogate.take() {
            let pair = char::decode_utf16([high, unit]).flatten();
            pair.for_each(|c| self.text.push_char(c));
            return;
        }
        self.end_surrogate();
        if (0xd800..0xdc00).contains(&unit) {
            self.high_surrogate = Some(unit);
        } else {
            let c = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
            self.text.push_char(c);
        }
    }

    /// Records that no second half of a surrogate pair follows.
    fn end_surrogate(&mut self) {
        if self.high_surrogate.take().is_some() {
            self.text.push_char(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Returns whether a byte ends a run of plain characters: a control character, a quote, a
/// backslash, or a byte outside of ASCII.
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte >= 0x80
}

/// Returns the character of an escape of one letter.
fn unescaped(byte: u8) -> Option<char> {
    Some(match byte {
        b'"' | b'\\' | b'/' => char::from(byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}
