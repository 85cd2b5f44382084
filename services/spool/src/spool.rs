//! Access to all executions stored on disk: accepting, finding, repairing and deleting them. The
//! submodule `list` returns them in pages, and `retention` deletes them by age and size.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use uuid::Uuid;

use crate::{
    entry::{Entry, OpenEntries},
    error::SpoolError,
    folder::{record_path, restore_track_files},
    limits::SpoolLimits,
    owner::Owner,
    record::{self, Header},
    slots::{STATUS_BYTES_MAX, Slots},
    store::{Store, Tombstone},
};

mod burned;
mod end;
mod list;
mod retention;
#[cfg(test)]
mod tests;

pub use list::Page;

/// All executions stored on disk, in one folder that only this process may use. Cheap to clone. A
/// lock file keeps other processes out of the folder until the last clone and the last [`Entry`]
/// are dropped.
#[derive(Clone)]
pub struct Spool {
    store: Arc<Store>,
    open: Arc<OpenEntries>,
}

impl Spool {
    /// Opens the executions stored in the folder `dir`, and creates the folder if it is missing.
    /// Finishes deletions that a crash interrupted, removes executions that were never confirmed to
    /// a client, and repairs the index. The returned texts are warnings about the file system for
    /// the operator's log; normally there are none.
    ///
    /// # Errors
    /// `InUse` while another process has the folder open, `Unwritable` if a file cannot be created
    /// or written, or `Io` if the disk cannot be read.
    pub fn open(dir: &Path, limits: SpoolLimits) -> Result<(Self, Vec<String>), SpoolError> {
        let (store, warnings) = Store::open(dir, limits)?;
        let spool = Self {
            store: Arc::new(store),
            open: Arc::new(OpenEntries::new()),
        };
        Ok((spool, warnings))
    }

    /// Checks that the disk can be written now and has `need_bytes` bytes and an inode free. The
    /// service's readiness check calls this. Takes a few microseconds.
    ///
    /// # Errors
    /// A sentence for the operator that says what is wrong.
    pub fn check_writable(&self, need_bytes: u64) -> Result<(), String> {
        self.store.check_writable(need_bytes)
    }

    /// Returns how many bytes this user could still write to the disk when it was last checked with
    /// [`Self::check_writable`], or else when the spool was opened. Never waits for the disk.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.store.free_bytes.load(Ordering::Relaxed)
    }

    /// Accepts an execution: stores its request `body`, the digest of the body and its first
    /// `status` under `id`, as an execution of `owner`. When this returns `Ok`, they are on disk
    /// and survive a power cut.
    ///
    /// # Errors
    /// On an error nothing is stored.
    /// - `Exists` or `Deleted` if the id was used or deleted before, perhaps by another owner.
    /// - `Burned` if this owner cancelled the id before.
    /// - `Unwritable` if the disk cannot be written or `status` is longer than
    ///   [`crate::STATUS_BYTES_MAX`].
    /// - `Damaged` or `Io` if an existing execution with this id cannot be read.
    pub fn create(
        &self,
        id: Uuid,
        body: &[u8],
        body_digest: [u8; 32],
        status: &[u8],
        owner: Owner,
    ) -> Result<Entry, SpoolError> {
        let store = &self.store;
        let _busy = store.hold(id);
        if let Some(header) = store.header(id).map_err(SpoolError::reading(id))? {
            return Err(SpoolError::Exists {
                digest: header.digest,
                owner: header.owner,
            });
        }
        if let Some(Tombstone { digest, owner }) = store.tombstone(id) {
            return Err(SpoolError::Deleted { digest, owner });
        }
        if store.is_burned(id, owner)? {
            return Err(SpoolError::Burned);
        }
        if status.len() > STATUS_BYTES_MAX {
            let large = io::Error::new(
                io::ErrorKind::InvalidInput,
                "the status is larger than its slot",
            );
            return Err(SpoolError::unwritable("the status")(large));
        }
        let sequence = store.next_sequence();
        let header = Header {
            id,
            sequence,
            digest: body_digest,
            body_len: body.len() as u64,
            body_crc: crc32fast::hash(body),
            owner,
        };
        match store.accept(&header, body, status) {
            // Build the entry only from values in memory: the acceptance is promised, so nothing
            // may fail any more.
            Ok(record) => Ok(self.entry(store.folder(id), header, record, Slots::first())),
            Err(error) => {
                store.withdraw(&header);
                Err(error)
            }
        }
    }

    /// Returns the execution with this id. `None` if there is none or it was deleted.
    ///
    /// # Errors
    /// `Damaged` if its record file cannot be used (see [`Spool::restore`]), or `Io` if the disk
    /// cannot be read.
    pub fn get(&self, id: Uuid) -> Result<Option<Entry>, SpoolError> {
        if let Some(entry) = Entry::held(&self.open, id) {
            return Ok(Some(entry));
        }
        let opened = Entry::open(Arc::clone(&self.store), Arc::clone(&self.open), id);
        let entry = opened.map_err(SpoolError::reading(id))?;
        Ok(entry.map(Entry::shared))
    }

    /// Repairs a damaged execution from what is left of it, so that it can be read and ended.
    /// `None` if it has no record file. Its status may still be missing; the caller then writes a
    /// terminal one with [`Spool::end`]. For an intact execution, this only creates missing files.
    ///
    /// `digest_of` computes the digest of the request body, by which a repeated request finds its
    /// execution. It returns `None` if the body is damaged. The owner is taken from the header or
    /// the index row. If both are damaged, it is [`Owner::UNKNOWN`].
    ///
    /// # Errors
    /// `Unwritable` if the repair cannot be written, or `Io` if the disk cannot be read.
    pub fn restore(
        &self,
        id: Uuid,
        digest_of: impl FnOnce(&[u8]) -> Option<[u8; 32]>,
    ) -> Result<Option<Entry>, SpoolError> {
        let store = &self.store;
        let _busy = store.hold(id);
        if !store.has_record(id) {
            return Ok(None);
        }
        let folder = store.folder(id);
        restore_track_files(&folder).map_err(SpoolError::unwritable("a damaged record"))?;
        if let Some(entry) = Entry::held(&self.open, id) {
            return Ok(Some(entry));
        }
        let (sequence, owner) = match store.find_in_index(id)? {
            Some(place) => place,
            None => (store.next_sequence(), Owner::UNKNOWN),
        };
        let path = record_path(&folder);
        let (record, header, slots) = record::restore(&path, id, sequence, owner, digest_of)
            .map_err(SpoolError::unwritable("a damaged record"))?;
        Ok(Some(self.entry(folder, header, record, slots)))
    }

    /// Returns the [`Entry`] for an execution whose record file was just opened. If another caller
    /// uses this execution already, returns that shared entry instead.
    fn entry(&self, folder: PathBuf, header: Header, record: File, slots: Slots) -> Entry {
        let (store, open) = (Arc::clone(&self.store), Arc::clone(&self.open));
        Entry::new(store, open, folder, header, record, slots).shared()
    }

    /// Returns the digest and owner of a deleted execution, by which a repeated request is
    /// recognised. `None` if no execution with this id was deleted within 30 days.
    pub fn tombstone(&self, id: Uuid) -> Option<Tombstone> {
        self.store.tombstone(id)
    }

    /// Reads the shares of an execution without opening it. This is one open(2) whether the id is
    /// known or not, so its time does not reveal which ids exist. Empty if the execution has no
    /// shares, is unknown or was deleted.
    ///
    /// # Errors
    /// `InvalidData` if the shares are damaged, or the error of the operating system. The shares
    /// then open nothing.
    pub fn shares_of(&self, id: Uuid) -> io::Result<Vec<u8>> {
        self.store.shares(id)
    }

    /// Deletes an ended execution. A small file (tombstone) remembers its id and digest for 30
    /// days. Repeating the call changes nothing. This also works on a full disk, because it only
    /// renames and removes files. Readers that are already open can continue to read.
    ///
    /// # Errors
    /// `Live` if the execution has not ended, `Unknown` if there is none with this id, `Damaged` if
    /// its record cannot be read, `Unwritable` if the disk refuses the deletion, or `Io` if it
    /// cannot be read.
    pub fn delete(&self, id: Uuid) -> Result<(), SpoolError> {
        let store = &self.store;
        let _busy = store.hold(id);
        let Some(entry) = self.get(id)? else {
            return match Header::read_path(&store.tombstone_path(id)) {
                Ok(None) => Err(SpoolError::Unknown(id)),
                // An earlier deletion stopped after the tombstone.
                Ok(Some(header)) if store.folder(id).exists() => store
                    .clear_away(&header)
                    .map_err(SpoolError::unwritable("the tombstone")),
                Ok(Some(_)) | Err(_) => Ok(()),
            };
        };
        if !entry.is_terminal() {
            return Err(SpoolError::Live);
        }
        store
            .move_to_tombstone(id)
            .map_err(SpoolError::unwritable("the tombstone"))?;
        entry.set_deleted();
        self.open.remove(id);
        if let Err(error) = store.clear_away(entry.header()) {
            tracing::warn!(
                %error, %id,
                "could not remove all files of a deleted execution; the next start removes them"
            );
        }
        Ok(())
    }
}
