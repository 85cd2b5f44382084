//! Acceptance.
//!
//! # Why one wait is enough
//!
//! An acceptance writes the folder in `staging`, renames it to `executions`, and then waits once,
//! for three things at the same time: the record's bytes, the names in its folder, its folder's
//! name. Only then it is promised, to the client and to whoever starts a process. A kill takes
//! nothing back, so it finds the folder in `staging` (no acceptance) or whole in `executions`. A
//! power cut before the promise may leave any part of what was written, in any order: at the start
//! an entry that is not whole (header, status, body by their checksums, all three names) was never
//! promised and is removed. A power cut after the promise finds everything.
//!
//! The index is not waited for. The folders are the truth, and the start adds the rows that are
//! missing.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::Store;
use crate::{
    error::SpoolError,
    files::{create_dir, sync_together},
    folder::{create_names, record_path},
    index::Row,
    record::{self, Header},
    slots::Version,
};

impl Store {
    /// Accepts an execution, and returns its record, open for reading and writing.
    pub(crate) fn accept(
        &self,
        header: &Header,
        body: &[u8],
        status: &[u8],
    ) -> Result<File, SpoolError> {
        let id = header.id;
        let staging = self.staging(id);
        let first = Version {
            number: 1,
            terminal: false,
            durable: true,
            json: status.to_vec(),
        };
        match fs::remove_dir_all(&staging) {
            // The rest of an acceptance that failed and could not be removed then.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SpoolError::unwritable("the execution's folder")(error)),
        }
        create_dir(&staging).map_err(SpoolError::unwritable("the execution's folder"))?;
        let record = record::write_new(&record_path(&staging), header, &first.encode(), body)
            .map_err(SpoolError::unwritable("the body"))?;
        // Now, because a full disk may have no room for names later.
        create_names(&staging).map_err(SpoolError::unwritable("the execution's folder"))?;
        self.index()
            .put(header.sequence, &Row { id, ended: None })
            .map_err(SpoolError::unwritable("the index"))?;
        let folder = self.folder(id);
        fs::rename(&staging, &folder).map_err(SpoolError::unwritable("the execution's folder"))?;
        self.promise(&record, &folder).map_err(|error| {
            let _ = fs::rename(&folder, &staging);
            SpoolError::unwritable("the execution's folder")(error)
        })?;
        Ok(record)
    }

    /// Removes what a failed acceptance left. Nothing of it was promised, and the next start
    /// removes what cannot be removed now.
    pub(crate) fn withdraw(&self, header: &Header) {
        let _ = fs::remove_dir_all(self.staging(header.id));
        let _ = self.index().clear(header.sequence);
    }

    /// The one wait of an acceptance, for everything that it wrote but the index.
    fn promise(&self, record: &File, folder: &Path) -> io::Result<()> {
        let names = [
            File::open(folder)?,
            File::open(self.dir.join("executions"))?,
        ];
        sync_together(record, &names)
    }
}
