//! The escapes for text of a model, so that no part of it is hidden or out of order when a person
//! reads it.

use std::fmt::Write;

/// Returns a text on one line, with an escape as in JSON (`\u001b`) for each character that a
/// terminal would obey or not show.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Returns whether a terminal does not show a character as itself: control characters, characters
/// that set the direction of text, and characters without a width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{2800}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_become_escapes() {
        for (text, shown) in [
            ("rm \x1b[2J\u{9b}K", "rm \\u001b[2J\\u009bK"),
            ("a\nccb: b\t\r", "a\\nccb: b\\t\\r"),
            ("\u{202e}txt\u{200b}\u{feff}", "\\u202etxt\\u200b\\ufeff"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("\u{2800}\u{1d173}", "\\u2800\\ud834\\udd73"),
            ("\u{e4}\u{20ac}\u{1f600}", "\u{e4}\u{20ac}\u{1f600}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn an_escaped_json_text_has_the_same_value() {
        let value = "\u{e0041}\u{9b}\u{200b}\u{7f}";
        let json = serde_json::to_string(value).unwrap();
        let shown = visible(&json);
        assert!(!shown.chars().any(is_hidden));
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
    }
}
