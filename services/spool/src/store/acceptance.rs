//! Acceptance stores a new execution so that it survives a power cut, with a single wait for the
//! disk.
//!
//! # Why one wait is enough
//!
//! An acceptance writes the folder in `staging`, renames it to `executions`, and then waits once
//! for three things at the same time: the content of the record file, the names in the execution's
//! folder, and the name of the folder. The acceptance is promised only after this wait, which means
//! that the client gets its answer and a process may be started.
//!
//! A kill of the service loses no write. It leaves the folder either in `staging` (not accepted) or
//! complete in `executions`. A power cut before the promise may leave any part of the writes, in
//! any order. If the start finds an execution that is not complete (header, status and body by
//! their checksums, all three file names), it was never promised and is removed. A power cut after
//! the promise loses no data.
//!
//! Acceptance does not wait for the index. The folders decide which executions exist, and the start
//! of the service adds missing index rows.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::Store;
use crate::{
    error::SpoolError,
    files::{create_dir, sync_together},
    folder::{create_track_files, record_path},
    index::Row,
    record::{self, Header},
    slots::Version,
};

impl Store {
    /// Stores a new execution with its request body and first status, and waits until they are on
    /// disk. Returns its record file, open for reading and writing.
    ///
    /// # Errors
    /// `Unwritable` if the disk cannot be written. Parts may be left on disk; the caller removes
    /// them with [`Store::withdraw`].
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
            // The leftover of a failed acceptance, which could not be removed at that time.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SpoolError::unwritable("the execution's folder")(error)),
        }
        create_dir(&staging).map_err(SpoolError::unwritable("the execution's folder"))?;
        let record = record::write_new(&record_path(&staging), header, &first.encode(), body)
            .map_err(SpoolError::unwritable("the body"))?;
        // Create the files now, because a full disk may have no room for names later.
        create_track_files(&staging).map_err(SpoolError::unwritable("the execution's folder"))?;
        self.index()
            .put(
                header.sequence,
                &Row {
                    id,
                    owner: header.owner,
                    ended: None,
                },
            )
            .map_err(SpoolError::unwritable("the index"))?;
        let folder = self.folder(id);
        fs::rename(&staging, &folder).map_err(SpoolError::unwritable("the execution's folder"))?;
        self.promise(&record, &folder).map_err(|error| {
            let _ = fs::rename(&folder, &staging);
            SpoolError::unwritable("the execution's folder")(error)
        })?;
        Ok(record)
    }

    /// Removes the folder and the index row of a failed acceptance, which was never confirmed to a
    /// client. Errors are ignored, because the next start removes files that are left.
    pub(crate) fn withdraw(&self, header: &Header) {
        let _ = fs::remove_dir_all(self.staging(header.id));
        let _ = self.index().clear(header.sequence);
    }

    /// Waits until the record file of a new execution, the names of its files and the name of its
    /// folder are on disk. Once this returns `Ok`, the acceptance may be confirmed to the client.
    fn promise(&self, record: &File, folder: &Path) -> io::Result<()> {
        let names = [
            File::open(folder)?,
            File::open(self.dir.join("executions"))?,
        ];
        sync_together(record, &names)
    }
}
