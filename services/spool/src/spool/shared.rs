//! What all clones of a spool and its entries share: places, locks, and the steps of acceptance and deletion.

use super::*;
use crate::files::is_damage;

impl Shared {
    /// Gives the record, open for reading and writing.
    pub(super) fn accept(
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
            // What one that failed could not remove.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SpoolError::unwritable("the execution's folder")(error)),
        }
        create_dir(&staging).map_err(SpoolError::unwritable("the execution's folder"))?;
        let record = record::write_new(&staging.join("record"), header, &first.encode(), body)
            .map_err(SpoolError::unwritable("the body"))?;
        // Their names are made now: a full disk may have no room for names later.
        for name in ["output", "events"] {
            private()
                .write(true)
                .create_new(true)
                .open(staging.join(name))
                .map_err(SpoolError::unwritable("the execution's folder"))?;
        }
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

    /// The one wait of an acceptance, for everything that it wrote but the index.
    fn promise(&self, record: &File, folder: &Path) -> io::Result<()> {
        let names = [
            File::open(folder)?,
            File::open(self.dir.join("executions"))?,
        ];
        sync_together(record, &names)
    }

    /// Removes what a deletion leaves behind its tombstone. Cutting the tombstone to its header is the last step: an
    /// uncut one tells the next start that this was not finished.
    pub(super) fn clear_away(&self, header: &Header) -> io::Result<()> {
        self.index().clear(header.sequence)?;
        let (folder, staging) = (self.folder(header.id), self.staging(header.id));
        match fs::rename(&folder, &staging) {
            Ok(()) => fs::remove_dir_all(&staging)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        File::options()
            .write(true)
            .open(self.tombstone_path(header.id))?
            .set_len(SLOTS_AT)
    }

    /// Whether the index says that this entry ended.
    pub(crate) fn is_ended_in_index(&self, header: &Header) -> io::Result<bool> {
        let slot = self.index().at(header.sequence)?;
        Ok(matches!(slot, Slot::Row(Row { id, ended: Some(_) }) if id == header.id))
    }

    /// Returns an entry's position in the index. Reads the whole index: for entries with a damaged
    /// header.
    pub(super) fn sequence_in_index(&self, id: Uuid) -> io::Result<Option<u64>> {
        let mut sequence = None;
        self.index().scan(|at, slot| {
            if matches!(slot, Slot::Row(row) if row.id == id) {
                sequence = Some(at);
            }
            sequence.is_none()
        })?;
        Ok(sequence)
    }

    /// Returns the position in the list of an entry or of a deleted one.
    pub(super) fn sequence_of(&self, id: Uuid) -> io::Result<Option<u64>> {
        let header = match Header::read_path(&self.folder(id).join("record")) {
            Ok(None) => Header::read_path(&self.tombstone_path(id)),
            there => there,
        };
        match header {
            Err(error) if is_damage(&error) => self.sequence_in_index(id),
            header => Ok(header?.map(|header| header.sequence)),
        }
    }

    pub(crate) fn note_end(&self, header: &Header, ended: Ended) {
        let index = self.index();
        // Deletion takes the lock too: a row that it cleared must not come back.
        if self.folder(header.id).join("record").exists()
            && let Err(error) = index.put(
                header.sequence,
                &Row {
                    id: header.id,
                    ended: Some(ended),
                },
            )
        {
            tracing::warn!(%error, id = %header.id, "the index could not be written; the next start repairs it");
        }
    }

    pub(crate) fn forget_closed(&self, id: Uuid) {
        let mut open = self.open_entries();
        if open.get(&id).is_some_and(|inner| inner.strong_count() == 0) {
            open.remove(&id);
        }
    }

    pub(super) fn hold(&self, id: Uuid) -> Busy<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(id) {
            busy = self
                .freed
                .wait(busy)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Busy { shared: self, id }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_entries(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<Inner>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self, id: Uuid) -> PathBuf {
        self.dir.join("executions").join(name(id))
    }

    pub(super) fn staging(&self, id: Uuid) -> PathBuf {
        self.dir.join("staging").join(name(id))
    }

    pub(super) fn burned_path(&self, id: Uuid) -> PathBuf {
        self.dir.join("burned").join(name(id))
    }

    pub(super) fn tombstone_path(&self, id: Uuid) -> PathBuf {
        self.dir.join("tombstones").join(name(id))
    }
}

/// An id that nobody else may accept or delete meanwhile.
pub(super) struct Busy<'a> {
    shared: &'a Shared,
    id: Uuid,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.shared
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
        self.shared.freed.notify_all();
    }
}
