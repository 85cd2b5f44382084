//! The files of ledgers: one for each execution, in the folder `webhooks` of the spool.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use protocol::ExecutionId;

use super::ledger::Ledger;

/// The suffix of a ledger.
const SUFFIX: &str = ".json";
/// The suffix of a ledger that is being written. A start removes such files.
const STAGED: &str = ".new";

/// The folder of ledgers.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the folder, and reads all ledgers. Removes other files: those of a write that was cut,
    /// and damaged ledgers, which are logged.
    ///
    /// # Errors
    /// The folder cannot be created or listed.
    pub(super) fn open(dir: PathBuf) -> io::Result<(Self, Vec<Ledger>)> {
        spool::private_dir(&dir)?;
        let mut ledgers = Vec::new();
        for file in fs::read_dir(&dir)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let is_staged = name.is_some_and(|name| name.ends_with(STAGED));
            let ledger = fs::read(&path)
                .and_then(|json| serde_json::from_slice::<Ledger>(&json).map_err(io::Error::other));
            match ledger {
                Ok(ledger) if name == Some(&file_name(ledger.execution_id)) => ledgers.push(ledger),
                other => {
                    if !is_staged {
                        tracing::error!(
                            file = %path.display(),
                            error = other.err().map(tracing::field::display),
                            "removed damaged webhook events; they are lost"
                        );
                    }
                    let _ = fs::remove_file(&path);
                }
            }
        }
        Ok((Self { dir }, ledgers))
    }

    /// Replaces the ledger of an execution. It is on disk when this returns.
    ///
    /// # Errors
    /// The disk failed. The old ledger stays, or the new one may not survive a power cut.
    pub(super) fn write(&self, id: ExecutionId, json: &[u8]) -> io::Result<()> {
        let staged = self.dir.join(format!("{id}{STAGED}"));
        spool::write_private(&staged, json)?.sync_all()?;
        fs::rename(staged, self.dir.join(file_name(id)))?;
        self.sync()
    }

    /// Removes the ledger of an execution. A missing one counts as removed. A power cut may bring
    /// it back: the next start then removes it again.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) fn remove(&self, id: ExecutionId) -> io::Result<()> {
        match fs::remove_file(self.dir.join(file_name(id))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// Returns the name of the file with an execution's ledger.
fn file_name(id: ExecutionId) -> String {
    format!("{id}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use protocol::Webhook;

    use super::*;

    #[test]
    fn ledgers_survive_and_other_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("webhooks");
        let (store, found) = Store::open(path.clone()).unwrap();
        assert!(found.is_empty());
        let [one, other] = [(); 2].map(|()| ExecutionId::random());
        let ledger = Ledger::new(one, None, &Webhook::new("https://a/"));
        store.write(one, b"old").unwrap();
        store.write(one, &ledger.encode()).unwrap();
        // The ledger of another execution, a damaged one, and a write that was cut.
        fs::write(path.join(file_name(other)), ledger.encode()).unwrap();
        fs::write(path.join(file_name(ExecutionId::random())), "{").unwrap();
        fs::write(path.join(format!("{one}{STAGED}")), ledger.encode()).unwrap();
        let (store, found) = Store::open(path.clone()).unwrap();
        assert_eq!(found, [ledger]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        store.remove(one).unwrap();
        store.remove(one).unwrap();
        assert!(Store::open(path).unwrap().1.is_empty());
    }
}
