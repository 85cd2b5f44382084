//! The credential of the model that the CLI would use, as far as this environment shows it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use grants::{CredentialKind, SecretError, read_secret};

use super::Environment;
use super::names::SECRETS;

/// Whether the CLI has a credential for the model, as far as it is known without a request to the
/// model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The CLI has a credential, which may still be refused. The text identifies the credential
    /// without revealing it. A replaced file changes the text.
    Present(String),
    /// No variable, file or login of the CLI gives a credential.
    Missing,
    /// A file that `NAME_FILE` names cannot be read. The text has the file and the reason.
    Unreadable(String),
    /// A file that `NAME_FILE` names holds no usable credential. The text has the file and the
    /// reason, and repeats nothing of its content.
    Malformed(String),
}

impl Environment {
    /// Returns the path of the file in which the CLI keeps its own login.
    fn login_file(&self) -> PathBuf {
        self.config_dir().join(".credentials.json")
    }

    /// Returns whether the CLI would use its own login, because no variable and no file gives it
    /// another credential. Reads files.
    #[must_use]
    pub fn uses_login(&self) -> bool {
        let login = self.login_file().display().to_string();
        matches!(self.credential(), Credential::Present(name) if name.starts_with(&login))
    }

    /// Returns the kind of the credential in a variable or a file of this environment. `None` if
    /// the CLI has none, or uses its own login or another provider. Reads files.
    #[must_use]
    pub fn credential_kind(&self) -> Option<CredentialKind> {
        let Credential::Present(text) = self.credential() else {
            return None;
        };
        let kinds = [
            CredentialKind::ApiKey,
            CredentialKind::OauthToken,
            CredentialKind::AuthToken,
        ];
        // The text is the variable's name, or begins with `NAME_FILE`.
        let named = |kind: &CredentialKind| text.starts_with(kind.variable());
        kinds.into_iter().find(named)
    }

    /// Returns the credential that the CLI would use if it were started now, in the CLI's own order
    /// of precedence. A secret is returned only as a fingerprint. Reads files.
    #[must_use]
    pub fn credential(&self) -> Credential {
        let variable = |name: &str| self.get(name).map(|_| Credential::Present(name.to_owned()));
        let mut unusable = None;
        for name in SECRETS {
            if let Some(present) = variable(name) {
                return present;
            }
            let Some((_, path)) = self.files.iter().find(|(secret, _)| *secret == name) else {
                continue;
            };
            match read_secret(path) {
                Ok(None) => {}
                Ok(Some(secret)) => {
                    let mut hasher = DefaultHasher::new();
                    secret.hash(&mut hasher);
                    return Credential::Present(format!("{name}_FILE:{:x}", hasher.finish()));
                }
                Err(error) => {
                    let reason = format!("{name}_FILE, {}: {error}", path.display());
                    unusable.get_or_insert(match error {
                        SecretError::Io(_) => Credential::Unreadable(reason),
                        SecretError::Content(_) => Credential::Malformed(reason),
                    });
                }
            }
        }
        let cloud = ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"];
        if let Some(present) = cloud.into_iter().find_map(variable) {
            return present;
        }
        let login = self.login_file();
        match std::fs::metadata(&login) {
            Ok(meta) if meta.len() > 2 => Credential::Present(format!(
                "{}:{:?}:{}",
                login.display(),
                meta.modified().ok(),
                meta.len()
            )),
            _ => unusable.unwrap_or(Credential::Missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Environment::new(vars, &[])
    }

    #[test]
    fn an_empty_key_means_the_login_of_the_cli() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().to_str().unwrap();
        let env = environment(&[("ANTHROPIC_API_KEY", ""), ("CLAUDE_CONFIG_DIR", dir)]);
        assert_eq!(env.get("ANTHROPIC_API_KEY"), None);
        assert_eq!(env.credential(), Credential::Missing);
        std::fs::write(home.path().join(".credentials.json"), r#"{"a":1}"#).unwrap();
        let first = env.credential();
        assert!(matches!(first, Credential::Present(_)));
        std::fs::write(home.path().join(".credentials.json"), r#"{"a":12}"#).unwrap();
        assert_ne!(env.credential(), first);
        assert_eq!(
            environment(&[("ANTHROPIC_API_KEY", "k")]).credential(),
            Credential::Present("ANTHROPIC_API_KEY".into())
        );
    }

    #[test]
    fn a_credential_in_a_file_is_read_for_each_execution() {
        let dir = tempfile::tempdir().unwrap();
        let (key, config) = (dir.path().join("key"), dir.path().to_str().unwrap());
        let file = key.to_str().unwrap();
        let env = environment(&[
            ("ANTHROPIC_API_KEY", ""),
            ("ANTHROPIC_API_KEY_FILE", file),
            ("CLAUDE_CONFIG_DIR", config),
        ]);
        let spawned = || {
            let vars = env.for_execution(&BTreeMap::new(), None);
            assert!(!vars.iter().any(|(name, _)| name.ends_with("_FILE")));
            vars.into_iter()
                .find(|(name, _)| name == "ANTHROPIC_API_KEY")
                .map(|(_, v)| v)
        };
        let Credential::Unreadable(reason) = env.credential() else {
            panic!("{:?}", env.credential())
        };
        assert!(reason.contains(file), "{reason}");
        assert_eq!(spawned(), None);

        std::fs::write(&key, "\n").unwrap();
        assert_eq!(env.credential(), Credential::Missing);
        std::fs::write(&key, " first \n").unwrap();
        let first = env.credential();
        assert!(matches!(&first, Credential::Present(text) if !text.contains("first")));
        assert_eq!(spawned().as_deref(), Some("first"));
        std::fs::write(&key, "other\n").unwrap();
        assert_eq!(spawned().as_deref(), Some("other"));
        assert_ne!(env.credential(), first);

        // The variable itself takes precedence over its file.
        let both = environment(&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_API_KEY_FILE", file)]);
        let vars = both.for_execution(&BTreeMap::new(), None);
        assert!(vars.contains(&("ANTHROPIC_API_KEY".to_owned(), "k".to_owned())));
    }
}
