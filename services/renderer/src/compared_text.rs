//! The text of one message, kept to compare what comes again with what was shown.

/// More than the longest answer of today's models (128k tokens); past it nothing is compared (2
/// MiB).
pub(crate) const COMPARED_BYTES: usize = 2 << 20;

/// A text that only grows: its length, and the text itself while it is short enough.
#[derive(Debug, Default)]
pub(crate) struct ComparedText {
    text: String,
    len: usize,
}

impl ComparedText {
    pub(crate) fn push(&mut self, text: &str) {
        self.len += text.len();
        if self.len <= COMPARED_BYTES {
            self.text.push_str(text);
        } else {
            self.text = String::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A part of it; `None` when it grew too long to be kept.
    pub(crate) fn part(&self, start: usize, end: usize) -> Option<&str> {
        self.text.get(start..end)
    }

    /// All of it; empty when it grew too long to be kept.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_keeping_but_not_counting() {
        let mut kept = ComparedText::default();
        kept.push("ab");
        assert_eq!(kept.part(1, 2), Some("b"));
        kept.push(&"x".repeat(COMPARED_BYTES));
        kept.push("y");
        assert_eq!((kept.len(), kept.part(0, 1)), (COMPARED_BYTES + 3, None));
        assert_eq!(kept.into_text(), "");
    }
}
