//! Token files of claude-api, with the tokens themselves, which tests send.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocol::Token;

/// The name of the token file in the folder of a [`super::Stack`].
pub const TOKENS_FILE: &str = "access/tokens.toml";

/// The tokens of one token file.
///
/// ```text
/// let tokens = Tokens::default()
///     .with("admin", "admin", &[])
///     .with("alice", "control", &["principal = \"team-a\"", "running = 1"]);
/// http.request(..).bearer_auth(tokens.secret("alice"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    entries: Vec<TokenEntry>,
}

/// One token: its text, and its block in the file.
#[derive(Debug, Clone)]
struct TokenEntry {
    name: String,
    secret: String,
    role: String,
    fields: Vec<String>,
}

impl Tokens {
    /// Adds a new random token with this name and role. `fields` are further lines of its block.
    ///
    /// # Panics
    /// If the system has no random numbers.
    #[must_use]
    pub fn with(mut self, name: &str, role: &str, fields: &[&str]) -> Self {
        let token = Token::generate().expect("random numbers");
        self.entries.push(TokenEntry {
            name: name.to_owned(),
            secret: token.secret().expose().to_owned(),
            role: role.to_owned(),
            fields: fields.iter().map(|line| (*line).to_owned()).collect(),
        });
        self
    }

    /// Returns the same tokens without the one of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut tokens = self.clone();
        tokens.entries.retain(|entry| entry.name != name);
        tokens
    }

    /// Returns the same tokens, with these lines in place of the other fields of the token `name`.
    #[must_use]
    pub fn changed(&self, name: &str, role: &str, fields: &[&str]) -> Self {
        let mut tokens = self.clone();
        for entry in tokens.entries.iter_mut().filter(|entry| entry.name == name) {
            role.clone_into(&mut entry.role);
            entry.fields = fields.iter().map(|line| (*line).to_owned()).collect();
        }
        tokens
    }

    /// Returns the text of the token with this name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn secret(&self, name: &str) -> &str {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        let entry = entry.unwrap_or_else(|| panic!("no token {name}"));
        &entry.secret
    }

    /// Returns the texts of all tokens.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.secret.as_str())
    }

    /// Returns the text of the file.
    ///
    /// # Panics
    /// Never: each secret is a token.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let token: Token = entry.secret.parse().expect("a token");
            let hash = token.secret().hash();
            let TokenEntry { name, role, .. } = entry;
            text += "[[token]]\n";
            text += &format!("name = \"{name}\"\nsha256 = \"{hash}\"\nrole = \"{role}\"\n");
            for line in &entry.fields {
                text += &format!("{line}\n");
            }
        }
        text
    }

    /// Writes the file in one step: a new file takes the old one's place.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) {
        let staged = path.with_extension("staged");
        write_private(&staged, self.to_toml().as_bytes());
        fs::rename(staged, path).expect("the token file can be replaced");
    }
}

/// Writes a file that only its owner may read.
///
/// # Panics
/// If the file cannot be written.
pub fn write_private(path: &Path, content: &[u8]) {
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).expect("a folder can be made");
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).expect("the file can be written");
    file.write_all(content).expect("the file can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_has_hashes_and_no_tokens() {
        let tokens = Tokens::default().with("admin", "admin", &[]).with(
            "alice",
            "control",
            &["running = 1"],
        );
        let text = tokens.to_toml();
        assert!(tokens.secrets().all(|secret| !text.contains(secret)));
        assert!(text.contains("name = \"alice\"") && text.ends_with("running = 1\n"));
        assert_eq!(tokens.without("alice").secrets().count(), 1);
        let changed = tokens.changed("alice", "view", &[]);
        assert_eq!(changed.secret("alice"), tokens.secret("alice"));
        assert!(changed.to_toml().ends_with("role = \"view\"\n"));
    }
}
