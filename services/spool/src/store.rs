//! The spool's folder: its paths, its locks and its index; the steps of acceptance and deletion
//! that need no open entry.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use crate::{folder::record_path, index::Index, limits::SpoolLimits, record::Header};

mod acceptance;
mod burned;
mod open;
mod probe;
mod repair_index;
mod rows;
mod tombstones;

/// What all clones of a spool and its entries share. The folder is free for another process when it
/// is dropped.
pub(crate) struct Store {
    dir: PathBuf,
    pub(crate) limits: SpoolLimits,
    /// Orders changes of rows against deletion. Never across an await.
    index: Mutex<Index>,
    next_sequence: AtomicU64,
    /// Ids that one task is accepting, burning, repairing or removing. Never across an await.
    busy: Mutex<HashSet<Uuid>>,
    freed: Condvar,
    /// The position of the search for old tombstones: see `tombstones`. Never held across an await.
    sweep: Mutex<Option<fs::ReadDir>>,
    /// The bytes of all executions on disk after the last pass of retention.
    pub(crate) measured_bytes: AtomicU64,
    probe: File,
    /// Holds the flock.
    _lock: File,
}

impl Store {
    /// Keeps all other tasks from accepting, burning, repairing or removing this id; waits for one
    /// that does so now.
    pub(crate) fn hold(&self, id: Uuid) -> Busy<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(id) {
            busy = self
                .freed
                .wait(busy)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Busy { store: self, id }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next position in the index. None is used twice.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether there is an entry with this id.
    pub(crate) fn has_record(&self, id: Uuid) -> bool {
        record_path(&self.folder(id)).exists()
    }

    /// Reads the header of the entry with this id; None when there is none.
    pub(crate) fn header(&self, id: Uuid) -> io::Result<Option<Header>> {
        Header::read_path(&record_path(&self.folder(id)))
    }

    pub(crate) fn folder(&self, id: Uuid) -> PathBuf {
        self.dir.join("executions").join(name(id))
    }

    pub(crate) fn staging(&self, id: Uuid) -> PathBuf {
        self.dir.join("staging").join(name(id))
    }

    pub(crate) fn burned_path(&self, id: Uuid) -> PathBuf {
        self.dir.join("burned").join(name(id))
    }

    pub(crate) fn tombstone_path(&self, id: Uuid) -> PathBuf {
        self.dir.join("tombstones").join(name(id))
    }
}

/// An id that no other task may accept, burn, repair or remove meanwhile.
pub(crate) struct Busy<'a> {
    store: &'a Store,
    id: Uuid,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.store
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
        self.store.freed.notify_all();
    }
}

/// The name of an id's folder or file.
pub(crate) fn name(id: Uuid) -> String {
    id.hyphenated().to_string()
}

/// Lists the ids that name entries of a folder; skips other names.
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
