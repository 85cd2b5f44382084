//! Finds the new part of an answer that was broken off and started again.
//!
//! The new text is held back while it equals the shown text. Once it has repeated all of the shown
//! text, it *continues* the shown text: only the text after that is new. If it differs, or ends
//! before it has repeated all, it is *other* text, and is shown from its start.
//!
//! If earlier blocks of the broken message were kept, the new text may begin with them or with the
//! first abandoned block. Both starts are tried.

/// The decision about the text of a restarted answer that was held back: hold it further, or show
/// it.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Hold the text further, because it still repeats the shown text.
    Hold,
    /// Show this text directly after the shown text, because all text before it was a repetition.
    Continues(String),
    /// Show this text as another answer, because it differs from the shown text.
    Other(String),
}

/// Compares a restarted answer with the text that was shown before it broke off, so that only new
/// text is shown.
#[derive(Debug)]
pub(crate) struct Repeat {
    /// The text that was shown of the broken answer.
    shown: String,
    /// The byte offsets in `shown` at which the new text may begin, ascending.
    starts: Vec<usize>,
    /// The `starts` from which all text held so far equals the shown text.
    matching: Vec<usize>,
    /// The new text that was not shown yet.
    held: String,
}

impl Repeat {
    /// Creates the comparison of a new answer with the `shown` text. The new text may repeat the
    /// shown text from any of the byte offsets `starts`, which ascend.
    pub(crate) fn new(shown: String, starts: Vec<usize>) -> Self {
        Self {
            matching: starts.clone(),
            starts,
            shown,
            held: String::new(),
        }
    }

    /// Returns the shown text and the starts, for the comparison with the next restart. Used if
    /// this answer was broken off before a decision.
    pub(crate) fn into_parts(self) -> (String, Vec<usize>) {
        (self.shown, self.starts)
    }

    /// Adds new text of the answer, and decides what to do with all text held so far.
    pub(crate) fn push(&mut self, text: &str) -> Step {
        let compared = self.held.len();
        self.held.push_str(text);
        let (shown, held) = (self.shown.as_bytes(), self.held.as_bytes());
        self.matching.retain(|start| {
            let rest = &shown[*start..];
            let common = rest.len().min(held.len());
            compared >= common || rest[compared..common] == held[compared..common]
        });
        match self.matching.first() {
            None => Step::Other(std::mem::take(&mut self.held)),
            Some(start) if self.covers(*start) => self.continues(*start),
            Some(_) => Step::Hold,
        }
    }

    /// Decides what to show of the held text, because the new answer has ended. Never returns
    /// [`Step::Hold`].
    pub(crate) fn end(&mut self) -> Step {
        match self.matching.iter().find(|start| self.covers(**start)) {
            Some(start) => self.continues(*start),
            None => Step::Other(std::mem::take(&mut self.held)),
        }
    }

    /// Returns whether this text, which is held back, is long enough to repeat everything that was
    /// shown from the offset `start` on. Only then can it be a whole repetition.
    fn covers(&self, start: usize) -> bool {
        self.held.len() >= self.shown.len() - start
    }

    /// Returns the held text after the part that repeats the shown text from the offset `start` on.
    fn continues(&self, start: usize) -> Step {
        Step::Continues(
            self.held
                .get(self.shown.len() - start..)
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(shown: &str, starts: &[usize], parts: &[&str]) -> (usize, Step) {
        let mut repeat = Repeat::new(shown.to_owned(), starts.to_vec());
        for (number, part) in parts.iter().enumerate() {
            match repeat.push(part) {
                Step::Hold => {}
                step => return (number, step),
            }
        }
        (parts.len(), repeat.end())
    }

    #[test]
    fn only_what_follows_the_repeated_text_is_new() {
        assert_eq!(
            run("Hello ", &[0], &["He", "llo w"]),
            (1, Step::Continues("w".into()))
        );
        assert_eq!(
            run("Hello ", &[0], &["Hello "]),
            (0, Step::Continues(String::new()))
        );
    }

    #[test]
    fn other_text_is_shown_from_its_start() {
        assert_eq!(
            run("Hello ", &[0], &["Hel", "p", "!"]),
            (1, Step::Other("Help".into()))
        );
        assert_eq!(
            run("Hello ", &[0], &["Hell"]),
            (1, Step::Other("Hell".into())),
            "the new text ended earlier"
        );
    }

    #[test]
    fn the_new_text_may_begin_with_the_first_abandoned_block() {
        let shown = "First.\n\nSecond";
        assert_eq!(
            run(shown, &[0, 8], &["Second bl"]),
            (0, Step::Continues(" bl".into()))
        );
        assert_eq!(
            run(shown, &[0, 8], &["First.", "\n\nSecond!"]),
            (1, Step::Continues("!".into()))
        );
        assert_eq!(
            run("aab\n\naa", &[0, 5], &["aa", "c"]),
            (1, Step::Continues("c".into())),
            "the longer match is awaited"
        );
        assert_eq!(
            run("aab\n\naa", &[0, 5], &["aa"]),
            (1, Step::Continues(String::new()))
        );
    }
}
