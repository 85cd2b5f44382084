//! All executions on disk: acceptance, lookup, lists, deletion. Opening is in `start`, expiry in `retention`.
//!
//! # Why one wait is enough
//!
//! An acceptance writes the folder in `staging`, renames it to `executions`, and then waits once, for three things at the
//! same time: the record's bytes, the names in its folder, its folder's name. Only then it is promised, to the client and to
//! whoever starts a process. A kill takes nothing back, so it finds the folder in `staging` (no acceptance) or whole in
//! `executions`. A power cut before the promise may leave any part of what was written, in any order: at the start an entry
//! that is not whole (header, status, body by their checksums, all three names) was never promised and is removed. A power
//! cut after the promise finds everything.
//!
//! The index is not waited for. The folders are the truth, and the start adds the rows that are missing.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use crate::{
    entry::{Entry, Inner},
    error::SpoolError,
    files::{create_dir, private, private_dir, sync_dir, sync_together},
    index::{Ended, Index, Row, Slot},
    record::{self, Header, SLOTS_AT},
    slots::{STATUS_BYTES_MAX, Slots, Version},
};

mod burned;
mod end;
mod fit;
mod retention;
mod shared;
mod start;
#[cfg(test)]
mod tests;

/// What is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Output kept per execution, in bytes.
    pub kept_bytes: u64,
    /// Output kept per execution, in lines, less than a 32nd more and what follows the last newline; 0 is no limit.
    pub kept_lines: u64,
    /// Raw events kept per execution, in bytes.
    pub events_bytes: u64,
    /// How long an execution is kept after its end.
    pub retention: Duration,
    /// What all executions may take on disk, in bytes.
    pub retention_bytes: u64,
}

/// A part of the list, newest acceptance first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The ids of this part.
    pub ids: Vec<Uuid>,
    /// Where the next part begins: to be given as `before`. None when nothing older exists.
    pub next: Option<Uuid>,
}

/// The spool's folder. Cheap to clone; the folder is free for another process when the last clone and entry is gone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    dir: PathBuf,
    pub(crate) limits: SpoolLimits,
    /// Orders changes of rows against deletion. Never across an await.
    index: Mutex<Index>,
    next_sequence: AtomicU64,
    /// Ids that are being accepted or deleted: one at a time each. Never across an await.
    busy: Mutex<HashSet<Uuid>>,
    freed: Condvar,
    /// Entries somebody holds, so that all hold the same. Never across an await.
    open: Mutex<HashMap<Uuid, Weak<Inner>>>,
    /// The position of the search for old tombstones: see `retention`. Never held across an await.
    sweep: Mutex<Option<fs::ReadDir>>,
    /// The bytes of all executions on disk after the last pass of retention.
    measured_bytes: AtomicU64,
    probe: File,
    /// Holds the flock.
    _lock: File,
}

impl Spool {
    /// Accepts an execution: when this returns, body and status are on disk, and survive a power cut.
    ///
    /// # Errors
    /// `Exists`, `Deleted`, `Burned`, or `Unwritable`; then nothing is recorded.
    pub fn create(
        &self,
        id: Uuid,
        body: &[u8],
        body_digest: [u8; 32],
        status: &[u8],
    ) -> Result<Entry, SpoolError> {
        let shared = &self.shared;
        let _busy = shared.hold(id);
        let there = Header::read_path(&shared.folder(id).join("record"));
        if let Some(header) = there.map_err(SpoolError::reading(id))? {
            return Err(SpoolError::Exists {
                digest: header.digest,
            });
        }
        if let Some(digest) = self.tombstone(id) {
            return Err(SpoolError::Deleted { digest });
        }
        if self.is_burned(id)? {
            return Err(SpoolError::Burned);
        }
        if status.len() > STATUS_BYTES_MAX {
            let large = io::Error::new(
                io::ErrorKind::InvalidInput,
                "the status is larger than its slot",
            );
            return Err(SpoolError::unwritable("the status")(large));
        }
        let sequence = shared.next_sequence.fetch_add(1, Ordering::SeqCst);
        let header = Header {
            id,
            sequence,
            digest: body_digest,
            body_len: body.len() as u64,
            body_crc: crc32fast::hash(body),
        };
        match shared.accept(&header, body, status) {
            // Of what is held already: it is promised, and nothing may fail any more.
            Ok(record) => {
                let folder = shared.folder(id);
                let entry = Entry::new(Arc::clone(shared), folder, header, record, Slots::first());
                Ok(self.shared_by_all(entry))
            }
            Err(error) => {
                // Nothing of it was promised; what cannot be removed now is at the next start.
                let _ = fs::remove_dir_all(shared.staging(id));
                let _ = shared.index().clear(sequence);
                Err(error)
            }
        }
    }

    /// The entry with this id; None where there is none, or no more.
    ///
    /// # Errors
    /// `Damaged`, or the disk's.
    pub fn get(&self, id: Uuid) -> Result<Option<Entry>, SpoolError> {
        if let Some(inner) = self.shared.open_entries().get(&id).and_then(Weak::upgrade) {
            return Ok(Some(Entry { inner }));
        }
        let opened = Entry::open(Arc::clone(&self.shared), self.shared.folder(id));
        let Some(entry) = opened.map_err(SpoolError::reading(id))? else {
            return Ok(None);
        };
        Ok(Some(self.shared_by_all(entry)))
    }

    /// Repairs a damaged entry from its remaining data so far that it can be read and ended. Its
    /// status may still be missing, and the caller writes a terminal one. `digest_of` computes the
    /// digest of an intact body, so that a repeated acceptance finds its execution. For an intact
    /// entry this equals [`Spool::get`], with missing files created.
    ///
    /// # Errors
    /// The disk's.
    pub fn restore(
        &self,
        id: Uuid,
        digest_of: impl FnOnce(&[u8]) -> Option<[u8; 32]>,
    ) -> Result<Option<Entry>, SpoolError> {
        let shared = &self.shared;
        let _busy = shared.hold(id);
        let folder = shared.folder(id);
        if !folder.join("record").exists() {
            return Ok(None);
        }
        record::restore_names(&folder).map_err(SpoolError::unwritable("a damaged record"))?;
        if let Some(inner) = shared.open_entries().get(&id).and_then(Weak::upgrade) {
            return Ok(Some(Entry { inner }));
        }
        let sequence = match shared.sequence_in_index(id)? {
            Some(sequence) => sequence,
            None => shared.next_sequence.fetch_add(1, Ordering::SeqCst),
        };
        let (record, header, slots) = record::restore(&folder, id, sequence, digest_of)
            .map_err(SpoolError::unwritable("a damaged record"))?;
        let entry = Entry::new(Arc::clone(shared), folder, header, record, slots);
        Ok(Some(self.shared_by_all(entry)))
    }

    /// The entry that everybody holds: this one, if it is the first.
    fn shared_by_all(&self, entry: Entry) -> Entry {
        let id = entry.id();
        let mut open = self.shared.open_entries();
        let inner = match open.get(&id).and_then(Weak::upgrade) {
            Some(first) => first,
            None => {
                open.insert(id, Arc::downgrade(&entry.inner));
                Arc::clone(&entry.inner)
            }
        };
        // Before `entry`, whose drop may need the lock.
        drop(open);
        Entry { inner }
    }

    /// Returns the digest of a deleted execution's body; None when none was deleted within 30 days.
    /// An unreadable tombstone counts, with a digest that no body has.
    pub fn tombstone(&self, id: Uuid) -> Option<[u8; 32]> {
        match Header::read_path(&self.shared.tombstone_path(id)) {
            Ok(header) => header.map(|header| header.digest),
            Err(_) => Some([0; 32]),
        }
    }

    /// Deletes a terminal execution and leaves a tombstone. Deleting it again changes nothing. Works on a full disk.
    /// Readers that are at it read on.
    ///
    /// # Errors
    /// `Live`, `Unknown`, `Damaged`, or the disk's.
    pub fn delete(&self, id: Uuid) -> Result<(), SpoolError> {
        let shared = &self.shared;
        let _busy = shared.hold(id);
        let Some(entry) = self.get(id)? else {
            return match Header::read_path(&shared.tombstone_path(id)) {
                Ok(None) => Err(SpoolError::Unknown(id)),
                // An earlier deletion stopped after the tombstone.
                Ok(Some(header)) if shared.folder(id).exists() => shared
                    .clear_away(&header)
                    .map_err(SpoolError::unwritable("the tombstone")),
                Ok(Some(_)) | Err(_) => Ok(()),
            };
        };
        if !entry.is_terminal() {
            return Err(SpoolError::Live);
        }
        let folder = shared.folder(id);
        // One rename takes the entry away and sets its tombstone: there is nothing between.
        fs::rename(folder.join("record"), shared.tombstone_path(id))
            .and_then(|()| sync_dir(&shared.dir.join("tombstones")))
            .and_then(|()| sync_dir(&folder))
            .map_err(SpoolError::unwritable("the tombstone"))?;
        entry.inner.deleted.store(true, Ordering::SeqCst);
        shared.open_entries().remove(&id);
        if let Err(error) = shared.clear_away(&entry.inner.header) {
            tracing::warn!(%error, %id, "what is left of a deleted execution goes at the next start");
        }
        Ok(())
    }

    /// A part of the list, newest acceptance first, of at most `limit` ids older than `before`.
    ///
    /// # Errors
    /// `UnknownBefore`, or the disk's.
    pub fn page(&self, before: Option<Uuid>, limit: usize) -> Result<Page, SpoolError> {
        let shared = &self.shared;
        let end = match before {
            None => u64::MAX,
            Some(id) => shared
                .sequence_of(id)?
                .ok_or(SpoolError::UnknownBefore(id))?,
        };
        let mut page = Page {
            ids: Vec::new(),
            next: None,
        };
        shared.index().scan_back(end, |row| {
            // A row may be of an acceptance or a deletion under way.
            if shared.folder(row.id).join("record").exists() {
                if page.ids.len() == limit {
                    page.next = page.ids.last().copied();
                    return false;
                }
                page.ids.push(row.id);
            }
            true
        })?;
        Ok(page)
    }

    /// Returns the executions that are not terminal, damaged ones included, in order of acceptance.
    /// For the start.
    ///
    /// # Errors
    /// The disk's.
    pub fn unfinished(&self) -> Result<Vec<Uuid>, SpoolError> {
        let mut live = Vec::new();
        self.shared.index().scan(|_, slot| {
            if let Slot::Row(Row { id, ended: None }) = slot {
                live.push(id);
            }
            true
        })?;
        let mut unfinished = Vec::new();
        for id in live {
            match self.get(id) {
                Ok(Some(entry)) if entry.is_terminal() => entry.note_size(),
                Ok(Some(_)) => unfinished.push(id),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, %id, "could not read an execution in the spool");
                    unfinished.push(id);
                }
            }
        }
        Ok(unfinished)
    }
}

fn name(id: Uuid) -> String {
    id.hyphenated().to_string()
}

/// The ids that the names in a folder are.
fn ids_in(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<Uuid>> + use<>> {
    Ok(fs::read_dir(dir)?.filter_map(|found| match found {
        Ok(found) => found
            .file_name()
            .to_str()
            .and_then(|name| Uuid::try_parse(name).ok())
            .map(Ok),
        Err(error) => Some(Err(error)),
    }))
}
