//! The place of a token in a JSON text.

use super::{Text, Token};

/// The maximum number of levels of a path. Deeper tokens have no path.
const LEVELS: usize = 6;

/// The names of the members that enclose the current token, from the outside in. The elements of an
/// array have the name `[]`.
#[derive(Debug, Default)]
pub struct Path {
    /// The name at each of the first levels. It is empty in an object before its first name.
    names: Vec<String>,
    /// The number of objects and arrays that are open.
    depth: usize,
}

impl Path {
    /// Takes the next token. Afterwards the path is that of the token, or of the content that
    /// follows it.
    pub fn take(&mut self, token: &Token<'_>) {
        match token {
            Token::ObjectStart => self.open(""),
            Token::ArrayStart => self.open("[]"),
            Token::ObjectEnd | Token::ArrayEnd => {
                self.depth = self.depth.saturating_sub(1);
                self.names.truncate(self.depth);
            }
            Token::Name(name) => self.rename(name),
            Token::String(_) | Token::Number(_) | Token::Literal => {}
        }
    }

    /// Returns the names. `None` for a token more than six levels deep.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        let is_kept = self.depth == self.names.len();
        is_kept.then(|| self.names.iter().map(String::as_str).collect())
    }

    /// Returns whether the token is inside of the member at `names`, at any depth below it.
    /// `names` has fewer than six names.
    #[must_use]
    pub fn is_inside(&self, names: &[&str]) -> bool {
        self.depth > names.len()
            && self
                .names
                .get(..names.len())
                .is_some_and(|own| own == names)
    }

    /// Returns the number of objects and arrays that enclose the token.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    fn open(&mut self, name: &str) {
        if self.depth < LEVELS {
            self.names.push(name.to_owned());
        }
        self.depth += 1;
    }

    fn rename(&mut self, name: &Text) {
        if self.depth == self.names.len()
            && let Some(last) = self.names.last_mut()
        {
            last.clear();
            last.push_str(name.whole().unwrap_or_default());
        }
    }
}
