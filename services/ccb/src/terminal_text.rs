//! Removes characters from text that would control a terminal.

use std::fmt::Write;

/// Returns whether a character can change how a terminal shows other text. These are control
/// characters other than newline and tab, and characters that set the direction of text.
fn is_active(c: char) -> bool {
    let bidirectional = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    bidirectional || (c.is_control() && c != '\n' && c != '\t')
}

/// Returns the text with every character replaced that a terminal would obey. Text of a model or a
/// tool must not move the cursor. Newlines and tabs are kept.
#[must_use]
pub fn plain(text: &str) -> String {
    let shown = |c| if is_active(c) { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// Returns the text on one line, with characters replaced as [`plain`] does and newlines too.
/// Foreign text can then not look like a line of `ccb`.
#[must_use]
pub fn one_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

/// Returns the text with characters replaced as [`plain`] does, and with all lines but the first
/// indented. No line then looks like another message of `ccb`.
#[must_use]
pub fn message(text: &str) -> String {
    plain(text).trim_end().replace('\n', "\n     ")
}

/// Returns output of an execution that is safe for a terminal, with characters replaced as
/// [`plain`] does. CRLF becomes a newline.
#[must_use]
pub fn for_terminal(output: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(output);
    plain(&text.replace("\r\n", "\n")).into_bytes()
}

/// Returns JSON that is safe for a terminal, with the control characters escaped that JSON allows
/// in strings. The JSON value stays the same.
#[must_use]
pub fn json_for_terminal(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        if is_active(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_for_a_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\nc"), "a\u{fffd}[2Jb\u{fffd}\nc");
        assert_eq!(plain("a\u{9b}2J\u{202e}b"), "a\u{fffd}2J\u{fffd}b");
        assert_eq!(
            for_terminal("a\r\n\x1bb\u{20ac}".as_bytes()),
            "a\n\u{fffd}b\u{20ac}".as_bytes()
        );
    }

    #[test]
    fn json_for_a_terminal_has_the_same_value() {
        let json = serde_json::to_string("\u{9b}2J \u{202e} \u{7f} \u{20ac} \x1b").unwrap();
        let shown = json_for_terminal(&json);
        assert!(!shown.chars().any(is_active), "{shown}");
        let parsed = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(parsed(&shown), parsed(&json));
    }
}
