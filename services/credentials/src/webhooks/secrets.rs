//! The file of the secrets that sign webhooks.
//!
//! ```toml
//! [default]                      # executions without a principal: a service without tokens
//! secrets = ["whsec_..."]
//!
//! [principal.team-a]
//! secrets = ["whsec_new...", "whsec_old..."]   # both sign, while receivers change over
//! ```
//!
//! The file is read for each webhook, so that a replaced secret is used at once. A principal never
//! signs with the secret of another one or with the default, because its receivers could not tell
//! the senders apart.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::webhook::{BadSecret, WebhookSecret};
use serde::Deserialize;

/// The maximum number of bytes that are read. It bounds the memory if the path names a wrong file.
const FILE_BYTES: u64 = 1024 * 1024;
/// The maximum number of secrets of one principal: the present one, and the one that it replaces.
const SECRETS: usize = 2;

/// The reason why there is no secret. The text repeats only names of principals from the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretsError {
    /// No file is configured.
    #[error("no file of secrets is configured (CREDENTIALS_WEBHOOK_SECRETS_FILE)")]
    NoFile,
    /// The file cannot be read.
    #[error("{file} cannot be read: {error}")]
    Io {
        /// The file.
        file: String,
        /// The error.
        error: io::Error,
    },
    /// The file is malformed.
    #[error(
        "{file} is malformed in line {line}; write [default] or [principal.NAME], and in it \
         secrets = [\"whsec_...\"]"
    )]
    Malformed {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A table has a malformed secret, no secret, or too many.
    #[error("{file}, {table}: {mistake}")]
    Table {
        /// The file.
        file: String,
        /// The table.
        table: String,
        /// The mistake.
        mistake: String,
    },
    /// The file has no secret for this principal.
    #[error("{file} has no {table}, so webhooks of these executions cannot be signed")]
    Missing {
        /// The file.
        file: String,
        /// The table that is missing.
        table: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secrets {
    default: Option<Table>,
    #[serde(default)]
    principal: BTreeMap<String, Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    secrets: Vec<String>,
}

/// Reads the secrets of a principal, or of executions without one, on a thread that may block.
///
/// # Errors
/// The file cannot be read or is malformed, or has no secret for this principal.
pub(super) async fn read(
    file: Option<&Path>,
    principal: Option<&str>,
) -> Result<Vec<WebhookSecret>, SecretsError> {
    let file: PathBuf = file.ok_or(SecretsError::NoFile)?.to_owned();
    let principal = principal.map(str::to_owned);
    let name = file.display().to_string();
    let read = spawn(move || of_principal(&file, principal.as_deref())).await;
    read.unwrap_or_else(|error| {
        let error = io::Error::other(error);
        Err(SecretsError::Io { file: name, error })
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this service has no spool; a read that is dropped has no effect"
)]
fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Checks every table of the file. Blocks on the disk.
///
/// # Errors
/// The file cannot be read, or has a mistake.
pub(super) fn check(file: &Path) -> Result<(), SecretsError> {
    let Secrets { default, principal } = parse(file)?;
    let default = default.map(|table| (name_of(None), table));
    let principals = principal.into_iter();
    let principals = principals.map(|(name, table)| (name_of(Some(&name)), table));
    for (name, table) in default.into_iter().chain(principals) {
        secrets(file, &name, &table)?;
    }
    Ok(())
}

fn of_principal(file: &Path, principal: Option<&str>) -> Result<Vec<WebhookSecret>, SecretsError> {
    let mut all = parse(file)?;
    let table = match principal {
        None => all.default,
        Some(principal) => all.principal.remove(principal),
    };
    let name = name_of(principal);
    match table {
        Some(table) => secrets(file, &name, &table),
        None => Err(SecretsError::Missing {
            file: file.display().to_string(),
            table: name,
        }),
    }
}

fn name_of(principal: Option<&str>) -> String {
    principal.map_or_else(
        || "[default]".to_owned(),
        |name| format!("[principal.{name}]"),
    )
}

fn parse(path: &Path) -> Result<Secrets, SecretsError> {
    let file = || path.display().to_string();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_string(&mut text));
    read.map_err(|error| SecretsError::Io {
        file: file(),
        error,
    })?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        // The error's own text quotes the file.
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        SecretsError::Malformed { file: file(), line }
    })
}

fn secrets(file: &Path, name: &str, table: &Table) -> Result<Vec<WebhookSecret>, SecretsError> {
    let mistake = |mistake: String| SecretsError::Table {
        file: file.display().to_string(),
        table: name.to_owned(),
        mistake,
    };
    if !(1..=SECRETS).contains(&table.secrets.len()) {
        let mut text = format!("give 1 or {SECRETS} secrets");
        text.push_str("; with two, both sign, so that one can replace the other");
        return Err(mistake(text));
    }
    let parse = |text: &String| text.parse().map_err(|e: BadSecret| mistake(e.to_string()));
    table.secrets.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_principal_has_only_its_own_secrets() {
        let [a, b, c] = [(); 3].map(|()| WebhookSecret::generate().unwrap());
        let (_dir, path) = file(&format!(
            "[default]\nsecrets = [\"{a}\"]\n[principal.default]\nsecrets = [\"{b}\"]\n\
             [principal.\"team-a\"]\nsecrets = [\"{b}\", \"{c}\"]\n"
        ));
        check(&path).unwrap();
        assert_eq!(of_principal(&path, None).unwrap().len(), 1);
        assert_eq!(of_principal(&path, Some("default")).unwrap().len(), 1);
        assert_eq!(of_principal(&path, Some("team-a")).unwrap().len(), 2);
        let error = of_principal(&path, Some("team-b")).unwrap_err().to_string();
        assert!(error.contains("[principal.team-b]"), "{error}");
    }

    #[test]
    fn a_mistake_is_named_and_nothing_of_the_file_is_repeated() {
        let three = format!(
            "[default]\nsecrets = {:?}",
            [(); 3].map(|()| WebhookSecret::generate().unwrap())
        );
        for (text, word) in [
            ("[default]\nsecrets = \"SECRET\"", "line 2"),
            ("[default]\nsecrets = [\"SECRET\"]\nSECRET\n", "line 3"),
            ("[default]\nsecret = [\"SECRET\"]", "line 2"),
            ("[default]\nsecrets = [\"SECRET\"]", "whsec_"),
            ("[default]\nsecrets = []", "1 or 2"),
            (three.as_str(), "1 or 2"),
            ("[team-a]\nsecrets = [\"SECRET\"]", "line 1"),
        ] {
            let (_dir, path) = file(text);
            let error = check(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert!(!error.contains("SECRET"), "{error}");
        }
    }
}
