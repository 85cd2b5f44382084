//! An answer that was broken off begins again: what of it is new?
//!
//! The new text is held back while it equals what was shown. It *continues* what was shown as soon
//! as it has repeated all of it: then only what follows is new. It is *other* text as soon as it
//! differs, or when it ends before it has repeated all: then it is shown from its start. When
//! earlier blocks of the broken message survived, the new text may begin with them or with the
//! first block that was abandoned: both are tried.

/// What is new, once that is known.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Not known yet.
    Hold,
    /// This follows directly what was shown.
    Continues(String),
    /// This is another text.
    Other(String),
}

#[derive(Debug)]
pub(crate) struct Repeat {
    shown: String,
    /// Where in `shown` the new text may begin, ascending.
    starts: Vec<usize>,
    /// Those that still match.
    alive: Vec<usize>,
    held: String,
}

impl Repeat {
    pub(crate) fn new(shown: String, starts: Vec<usize>) -> Self {
        Self {
            alive: starts.clone(),
            starts,
            shown,
            held: String::new(),
        }
    }

    /// What was shown and the starts, when the new answer was broken off as well before it was told
    /// apart.
    pub(crate) fn into_parts(self) -> (String, Vec<usize>) {
        (self.shown, self.starts)
    }

    pub(crate) fn push(&mut self, text: &str) -> Step {
        let before = self.held.len();
        self.held.push_str(text);
        let (shown, held) = (self.shown.as_bytes(), self.held.as_bytes());
        self.alive.retain(|start| {
            let rest = &shown[*start..];
            let common = rest.len().min(held.len());
            before >= common || rest[before..common] == held[before..common]
        });
        match self.alive.first() {
            None => Step::Other(std::mem::take(&mut self.held)),
            Some(start) if self.covers(*start) => self.continues(*start),
            Some(_) => Step::Hold,
        }
    }

    /// The new text is complete.
    pub(crate) fn end(&mut self) -> Step {
        match self.alive.iter().find(|start| self.covers(**start)) {
            Some(start) => self.continues(*start),
            None => Step::Other(std::mem::take(&mut self.held)),
        }
    }

    /// All that was shown from `start` on has come again.
    fn covers(&self, start: usize) -> bool {
        self.held.len() >= self.shown.len() - start
    }

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
    fn other_text_comes_from_its_start() {
        assert_eq!(
            run("Hello ", &[0], &["Hel", "p", "!"]),
            (1, Step::Other("Help".into()))
        );
        assert_eq!(
            run("Hello ", &[0], &["Hell"]),
            (1, Step::Other("Hell".into())),
            "it ended sooner"
        );
    }

    #[test]
    fn it_may_begin_with_the_first_abandoned_block() {
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
            "the longer is waited for"
        );
        assert_eq!(
            run("aab\n\naa", &[0, 5], &["aa"]),
            (1, Step::Continues(String::new()))
        );
    }
}
