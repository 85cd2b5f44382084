//! The kept beginning of a name or string.

/// The maximum number of decoded bytes of a name or string that are kept. The longest text that is
/// needed whole is the name of a model.
const KEPT_BYTES: usize = 128;

/// The beginning of a JSON name or string, with its escapes decoded, in UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    bytes: Vec<u8>,
    /// The number of bytes of the whole text.
    length: u64,
}

impl Text {
    /// Returns the whole text. `None` if it is longer than 128 bytes.
    #[must_use]
    pub fn whole(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.bytes).ok();
        text.filter(|_| self.length == self.bytes.len() as u64)
    }

    /// Returns the number of bytes of the whole text, with those that are not kept.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns whether the text equals `name`, which is in lower case. The comparison ignores case,
    /// as the most tolerant parsers do. Go's parser also folds two letters outside of ASCII into
    /// `s` and `k`.
    #[must_use]
    pub fn is_name(&self, name: &str) -> bool {
        let Some(own) = self.whole() else {
            return false;
        };
        let folded = own.chars().map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        });
        folded.eq(name.chars())
    }

    /// Appends decoded bytes, as far as there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES.saturating_sub(self.bytes.len());
        self.length += bytes.len() as u64;
        self.bytes.extend(bytes.iter().take(room));
    }

    /// Appends a character.
    pub(super) fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Empties the text, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Text {
        let mut text = Text::default();
        text.push(content.as_bytes());
        text
    }

    #[test]
    fn a_name_is_found_in_any_case() {
        for same in ["file_id", "File_ID", "FILE_ID"] {
            assert!(text(same).is_name("file_id"), "{same}");
        }
        assert!(text("mcp_\u{17f}erver\u{17f}").is_name("mcp_servers"));
        for other in ["file_i", "file_idx", "", "file-id", "ﬁle_id"] {
            assert!(!text(other).is_name("file_id"), "{other}");
        }
    }

    #[test]
    fn a_long_text_is_no_name() {
        let long = "a".repeat(KEPT_BYTES + 1);
        assert_eq!((text(&long).whole(), text(&long).length()), (None, 129));
        assert_eq!(text(&long[1..]).whole(), Some(&long[1..]));
        assert!(!text(&long).is_name(&long));
    }
}
