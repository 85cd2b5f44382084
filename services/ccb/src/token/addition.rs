//! Adds an entry to a token file in one step: readers see the file without it or with it, never a
//! part of it.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Gid, Uid, fchown, flock};
use tempfile::NamedTempFile;

use super::file::{Entry, TokenFile, block};
use crate::failure::Failure;

/// The mode of a new token file.
const MODE: u32 = 0o600;

/// A changed token file that was checked and written beside the old one. Dropping it changes
/// nothing.
pub(super) struct Addition {
    new: NamedTempFile,
    path: PathBuf,
    /// The folder of the file. It is locked, so that two additions at the same time both count.
    folder: File,
}

/// Writes a copy of the token file with a further entry, beside the file, with the file's mode and
/// owner. The file need not exist. Waits while another `ccb` adds an entry to a file of the folder.
///
/// # Errors
/// The file with the entry would break a rule, or cannot be written.
pub(super) fn prepare(path: &Path, entry: &Entry) -> Result<Addition, Failure> {
    let shown = path.display();
    let failed = |what: &str, error: io::Error| {
        Failure::system(format!("could not {what} the token file {shown}: {error}"))
    };
    // A link is followed, so that its target is replaced and not the link.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed("find", error)),
    };
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    let folder = File::open(parent).map_err(|error| failed("find the folder of", error))?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|error| failed("lock", error.into()))?;
    let old = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", error)),
    };
    let text = appended(old.as_deref().unwrap_or_default(), entry).map_err(|mistake| {
        Failure::usage(format!("{mistake} (in {shown}, which was not changed)"))
    })?;
    let write = || -> io::Result<NamedTempFile> {
        let mut new = NamedTempFile::new_in(parent)?;
        new.write_all(text.as_bytes())?;
        match old {
            Some(_) => copy_access(new.as_file(), &path.metadata()?)?,
            None => new
                .as_file()
                .set_permissions(Permissions::from_mode(MODE))?,
        }
        new.as_file().sync_all()?;
        Ok(new)
    };
    let new = write().map_err(|error| failed("write", error))?;
    Ok(Addition { new, path, folder })
}

impl Addition {
    /// Replaces the token file by the changed one.
    ///
    /// # Errors
    /// The file cannot be replaced, and stays as it was.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { new, path, folder } = self;
        let failed = |error: io::Error| {
            let shown = path.display();
            Failure::system(format!("could not replace the token file {shown}: {error}"))
        };
        new.persist(&path).map_err(|error| failed(error.error))?;
        folder.sync_all().map_err(failed)
    }
}

/// Gives the new file the mode, the owner and the group of the old one. So the service that could
/// read the old one can read the new one.
fn copy_access(new: &File, old: &Metadata) -> io::Result<()> {
    let present = new.metadata()?;
    if (present.uid(), present.gid()) != (old.uid(), old.gid()) {
        let (owner, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        fchown(new, Some(owner), Some(group)).map_err(|error| {
            let reason = format!(
                "it belongs to another user or group ({}:{}), and a new file cannot be given to \
                 it ({error}); run ccb as that user",
                old.uid(),
                old.gid()
            );
            io::Error::other(reason)
        })?;
    }
    new.set_permissions(old.permissions())
}

/// Returns the text of a token file with a further entry at its end, and checks the result.
fn appended(old: &str, entry: &Entry) -> Result<String, String> {
    // The old text alone first, so that its mistakes are not taken for mistakes of the new entry.
    TokenFile::parse(old)?;
    let mut text = old.to_owned();
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    text.push_str(&block(entry)?);
    TokenFile::parse(&text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &[u8]) -> Entry {
        Entry::example(name, token)
    }

    #[test]
    fn an_entry_is_appended_and_comments_stay() {
        let old = "# the tokens of this machine\n\n# builds";
        let text = appended(old, &entry("ci", b"1")).unwrap();
        assert!(text.starts_with(old), "{text}");
        let text = appended(&text, &entry("ann", b"2")).unwrap();
        assert!(
            text.starts_with(old) && text.contains("\n\n[[token]]"),
            "{text}"
        );
        assert_eq!(text.matches("[[token]]").count(), 2);
        assert!(appended(&text, &entry("ann", b"3")).is_err());
    }

    #[test]
    fn limits_of_one_principal_must_not_differ() {
        let limited = |name: &str, running| Entry {
            principal: Some("ann".to_owned()),
            running: Some(running),
            budget_usd_per_day: Some(1.5),
            ..entry(name, name.as_bytes())
        };
        let text = appended("", &limited("laptop", 2)).unwrap();
        assert!(appended(&text, &limited("ci", 2)).is_ok());
        let mistake = appended(&text, &limited("ci", 3)).unwrap_err();
        assert!(mistake.contains("running of the token \"ci\""), "{mistake}");
    }

    #[test]
    fn an_added_entry_keeps_the_mode_and_follows_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let add = |path: &Path, entry: &Entry| prepare(path, entry).and_then(Addition::finish);
        let mode = || path.metadata().unwrap().mode() & 0o777;
        assert!(add(&path, &entry("a", b"1")).is_ok());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(add(&link, &entry("b", b"2")).is_ok());
        assert_eq!(mode(), 0o640);
        assert!(link.is_symlink());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(TokenFile::parse(&text).unwrap().token.len(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_would_be_wrong_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        for old in ["[[token]]\nname = 7\n", "name = \"x\"", "\u{0}"] {
            std::fs::write(&path, old).unwrap();
            let Err(Failure(exit, message)) = prepare(&path, &entry("a", b"1")).map(drop) else {
                panic!("{old} was accepted");
            };
            assert_eq!(exit, crate::exit::USAGE);
            assert!(message.contains("not changed"), "{message}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
