//! The check of UTF-8 (RFC 3629) one byte at a time.

use std::ops::RangeInclusive;

/// The bytes that may continue any character.
const CONTINUATION: RangeInclusive<u8> = 0x80..=0xbf;

/// The rest of a character that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    /// The number of bytes that are missing.
    count: u8,
    /// The values that the next byte may have. They exclude overlong forms, surrogates, and
    /// characters beyond U+10FFFF.
    next: RangeInclusive<u8>,
}

impl Rest {
    /// Returns the rest that must follow the first byte of a character outside of ASCII. `None` if
    /// no such character begins with that byte.
    pub(super) fn begin(first: u8) -> Option<Self> {
        let (count, next) = match first {
            0xc2..=0xdf => (1, CONTINUATION),
            0xe0 => (2, 0xa0..=0xbf),
            0xed => (2, 0x80..=0x9f),
            0xe1..=0xef => (2, CONTINUATION),
            0xf0 => (3, 0x90..=0xbf),
            0xf1..=0xf3 => (3, CONTINUATION),
            0xf4 => (3, 0x80..=0x8f),
            _ => return None,
        };
        Some(Self { count, next })
    }

    /// Takes the next byte. Returns whether the character is complete, or `None` if the byte cannot
    /// follow.
    pub(super) fn take(&mut self, byte: u8) -> Option<bool> {
        if !self.next.contains(&byte) {
            return None;
        }
        self.count -= 1;
        self.next = CONTINUATION;
        Some(self.count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_character(bytes: &[u8]) -> bool {
        let (&first, rest) = bytes.split_first().unwrap();
        let Some(mut state) = Rest::begin(first) else {
            return false;
        };
        let mut is_complete = false;
        for byte in rest {
            if is_complete {
                return false;
            }
            match state.take(*byte) {
                Some(complete) => is_complete = complete,
                None => return false,
            }
        }
        is_complete
    }

    /// Three bytes reach every rule; the fourth is a plain continuation.
    #[test]
    fn the_check_agrees_with_the_standard_library() {
        for first in 0x80..=0xff {
            for second in 0..=0xff {
                for tail in [&[][..], &[0x80], &[0x80, 0x80], &[0x41], &[0xbf, 0xc0]] {
                    let bytes = [&[first, second], tail].concat();
                    let expected =
                        std::str::from_utf8(&bytes).is_ok_and(|text| text.chars().count() == 1);
                    assert_eq!(is_character(&bytes), expected, "{bytes:x?}");
                }
            }
        }
    }
}
