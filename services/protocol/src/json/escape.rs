//! Writes strings as JSON, quickly. Most bytes that a bridge sends are one string: output.

/// The number of bytes that are looked at together.
const WORD: usize = size_of::<u64>();
/// A word with the lowest bit of each byte.
const ONES: u64 = u64::MAX / 0xff;
/// A word with the highest bit of each byte.
const HIGHS: u64 = ONES << 7;
/// The first byte that is no control character (RFC 8259, section 7).
const SPACE: u64 = 0x20;

/// Appends `text` to `json` as a JSON string with its quotes. The string is the one that serde_json
/// writes: only `"`, `\` and the characters below U+0020 are escaped.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    loop {
        // A byte that is escaped is ASCII, so it is a character of its own.
        let (plain, following) = rest.split_at(plain_length(rest.as_bytes()));
        json.push_str(plain);
        let mut characters = following.chars();
        let Some(escaped) = characters.next() else {
            break;
        };
        push_escaped(json, escaped);
        rest = characters.as_str();
    }
    json.push('"');
}

/// Returns the number of bytes before the first one that is escaped.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        let found = escaped_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return index * WORD + found.trailing_zeros() as usize / 8;
        }
    }
    let before = words.len() * WORD;
    let position = rest.iter().position(|byte| is_escaped(*byte));
    before + position.unwrap_or(rest.len())
}

/// Returns a word in which the highest bit of each byte is set whose byte in `word` is escaped. A
/// bit above the lowest one that is set may be wrong, because a subtraction borrows from it
/// (Hacker's Delight, section 6-1).
fn escaped_bytes(word: u64) -> u64 {
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = is_zero(word ^ (ONES * u64::from(b'"')));
    let backslashes = is_zero(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * SPACE) & !word;
    (quotes | backslashes | controls) & HIGHS
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\')
}

fn push_escaped(json: &mut String, character: char) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    json.push('\\');
    match character {
        '\n' => json.push('n'),
        '\r' => json.push('r'),
        '\t' => json.push('t'),
        '\u{8}' => json.push('b'),
        '\u{c}' => json.push('f'),
        '\0'..'\u{20}' => {
            let code = character as usize;
            json.push_str("u00");
            json.push(HEX[code >> 4]);
            json.push(HEX[code & 0xf]);
        }
        other => json.push(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut json = String::new();
        push_string(&mut json, text);
        json
    }

    #[test]
    fn every_character_of_one_byte_is_escaped_as_serde_json_does_at_every_place_of_a_word() {
        for character in '\0'..='\u{ff}' {
            for before in 0..WORD {
                let text = format!("{}{character}\"{}", "x".repeat(before), "é".repeat(WORD));
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_does(
            text in "([a-z]{0,20}|[\"\\\\\n\t\0-\u{1f}]{0,3}|[\u{20}-\u{10ffff}]{0,9}){0,8}"
        ) {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
