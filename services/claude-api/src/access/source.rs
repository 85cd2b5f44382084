//! The token file, and the table of tokens that is in force.

use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::OFlags;

use super::table::TokenTable;
use super::token_file;

/// The largest token file that is read, in bytes (1 MiB, some 5,000 tokens).
const FILE_BYTES: u64 = 1 << 20;

/// The token file and the table of tokens that is in force.
pub(super) struct TokenSource {
    path: PathBuf,
    rules: token_file::Rules,
    // Held to read or replace the pointer; no await happens inside.
    table: RwLock<Arc<TokenTable>>,
}

impl TokenSource {
    pub(super) fn open(path: &Path, rules: token_file::Rules) -> Result<Self, String> {
        rules.check_permissions(path)?;
        let table = match read(path) {
            // Nobody gets in until the operator writes the file.
            Ok(None) => TokenTable::default(),
            Ok(Some(text)) => {
                let tokens = token_file::parse(&text, rules).map_err(|mistakes| {
                    format!(
                        "--tokens-file {}:\n  {}",
                        path.display(),
                        mistakes.join("\n  ")
                    )
                })?;
                TokenTable::new(tokens, &TokenTable::default())
            }
            Err(error) => return Err(format!("--tokens-file {}: {error}", path.display())),
        };
        Ok(Self {
            path: path.to_owned(),
            rules,
            table: RwLock::new(Arc::new(table)),
        })
    }

    /// Returns the path of the token file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the rules for the token file.
    pub(super) fn rules(&self) -> token_file::Rules {
        self.rules
    }

    /// Returns the table of tokens that is in force.
    pub(super) fn table(&self) -> Arc<TokenTable> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table)
    }

    /// Puts these tokens into force, and ends the streams of tokens that are gone. Returns what
    /// changed, by the names of the tokens.
    pub(super) fn replace(&self, tokens: Vec<token_file::TokenEntry>) -> Vec<String> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = Arc::clone(&table);
        let newer = Arc::new(TokenTable::new(tokens, &earlier));
        *table = Arc::clone(&newer);
        drop(table);
        earlier.revoke_missing(&newer);
        let mut changes = Vec::new();
        for name in newer.names() {
            match earlier.named(name) {
                None => changes.push(format!("added {name}")),
                Some(old) if Some(old) != newer.named(name) => {
                    changes.push(format!("changed {name}"));
                }
                Some(_) => {}
            }
        }
        let removed = earlier.names().filter(|name| newer.named(name).is_none());
        changes.extend(removed.map(|name| format!("removed {name}")));
        changes
    }
}

/// Reads the text of the token file. `None` if it is missing, empty or no regular file, such as
/// /dev/null. Blocks on the disk.
///
/// # Errors
/// The file cannot be read, is too large or is not UTF-8.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    // Without a wait, because the open of a pipe would wait for its writer.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = std::fs::File::options();
    let file = match options.read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(io::Error::other("the file is larger than 1 MiB"));
    }
    Ok((!text.trim().is_empty()).then_some(text))
}
