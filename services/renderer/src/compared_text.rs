//! The text of one message, kept so that a restarted answer can be compared with it.

/// The longest text that is kept for the comparison with a restarted answer (2 MiB). Answers of
/// today's models are shorter (128k tokens).
pub(crate) const COMPARED_BYTES: usize = 2 << 20;

/// A growing text with bounded memory. Once it is longer than 2 MiB, the text is dropped and only
/// its length is counted.
#[derive(Debug, Default)]
pub(crate) struct ComparedText {
    text: String,
    len: usize,
}

impl ComparedText {
    /// Appends text. If the total exceeds 2 MiB, drops all of it and only counts its length.
    pub(crate) fn push(&mut self, text: &str) {
        self.len += text.len();
        if self.len <= COMPARED_BYTES {
            self.text.push_str(text);
        } else {
            self.text = String::new();
        }
    }

    /// Returns the length of all appended text in bytes, also if the text was dropped.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the text between two byte offsets. Returns `None` if the text was dropped because it
    /// was too long.
    pub(crate) fn part(&self, start: usize, end: usize) -> Option<&str> {
        self.text.get(start..end)
    }

    /// Returns the whole text. It is empty if it was dropped because it was longer than 2 MiB.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_too_long_text_is_counted_but_not_kept() {
        let mut kept = ComparedText::default();
        kept.push("ab");
        assert_eq!(kept.part(1, 2), Some("b"));
        kept.push(&"x".repeat(COMPARED_BYTES));
        kept.push("y");
        assert_eq!((kept.len(), kept.part(0, 1)), (COMPARED_BYTES + 3, None));
        assert_eq!(kept.into_text(), "");
    }
}
