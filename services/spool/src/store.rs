//! The spool's folder: its paths, its locks and its index, and the steps of acceptance and deletion
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

/// The state that all clones of a spool and its entries share. The folder is locked for other
/// processes until this value is dropped.
pub(crate) struct Store {
    dir: PathBuf,
    pub(crate) limits: SpoolLimits,
    /// The index. A lock, because changes of rows must be ordered against deletion; never held
    /// across an await.
    index: Mutex<Index>,
    next_sequence: AtomicU64,
    /// The ids that a task is accepting, burning, repairing or removing. A lock, never held across
    /// an await.
    busy: Mutex<HashSet<Uuid>>,
    /// Notified when an id is released from `busy`.
    released: Condvar,
    /// The position of the search for old tombstones: see `tombstones`. A lock, never held across
    /// an await.
    sweep: Mutex<Option<fs::ReadDir>>,
    /// The size of all executions on disk after the last pass of retention, in bytes.
    pub(crate) measured_bytes: AtomicU64,
    probe: File,
    /// The file that holds the flock.
    _lock: File,
}

impl Store {
    /// Prevents other tasks from accepting, burning, repairing or removing this id until the result
    /// is dropped. Waits for a task that already holds the id.
    pub(crate) fn hold(&self, id: Uuid) -> Busy<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(id) {
            busy = self
                .released
                .wait(busy)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Busy { store: self, id }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allocates the next position in the index. No position is reused.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether an entry with this id exists.
    pub(crate) fn has_record(&self, id: Uuid) -> bool {
        record_path(&self.folder(id)).exists()
    }

    /// Reads the header of the entry with this id; None if there is no entry.
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

/// A hold on an id: no other task may accept, burn, repair or remove the id until this is dropped.
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
        self.store.released.notify_all();
    }
}

/// Returns the name of an id's folder or file.
pub(crate) fn name(id: Uuid) -> String {
    id.hyphenated().to_string()
}

/// Lists the ids that name entries of a folder; skips other names.
fn ids_in(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<Uuid>> + use<>> {
    Ok(fs::read_dir(dir)?.filter_map(|entry| match entry {
        Ok(entry) => entry
            .file_name()
            .to_str()
            .and_then(|name| Uuid::try_parse(name).ok())
            .map(Ok),
        Err(error) => Some(Err(error)),
    }))
}
