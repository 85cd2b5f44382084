//! The files of the spool on disk: its folder, locks and index, and the steps of acceptance and
//! deletion that need no open execution.

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
mod questions;
mod repair_index;
mod rows;
mod shares;
mod tombstones;

pub use questions::{QUESTIONS_BYTES_MAX, QuestionLine};
pub use shares::SHARES_BYTES_MAX;
pub use tombstones::Tombstone;

/// The folder, index file and locks of the spool (the executions on disk), shared by all clones of
/// a [`crate::Spool`] and by its entries. Other processes cannot open the folder until this is
/// dropped.
pub(crate) struct Store {
    /// The spool's folder.
    dir: PathBuf,
    /// The configured limits on what is stored.
    pub(crate) limits: SpoolLimits,
    /// The index file, which lists the executions in order of acceptance. A lock, because changes
    /// of rows must be ordered against deletion; never held across an await.
    index: Mutex<Index>,
    /// The position in the index that the next accepted execution gets.
    next_sequence: AtomicU64,
    /// The ids of the executions that a task is accepting, refusing, repairing or deleting now. A
    /// lock, never held across an await.
    busy: Mutex<HashSet<Uuid>>,
    /// Notified when an id is removed from `busy`, so that a waiting task can continue.
    released: Condvar,
    /// Where the next search for old tombstones continues in their folder; `None` means at the
    /// beginning. A lock, never held across an await.
    sweep: Mutex<Option<fs::ReadDir>>,
    /// The disk space of all executions in bytes, as the last deletion pass measured it; 0 before
    /// the first.
    pub(crate) measured_bytes: AtomicU64,
    /// The bytes that this user can still write to the disk, as the last check of it found.
    pub(crate) free_bytes: AtomicU64,
    /// A file of one block that readiness checks rewrite to test the disk.
    probe: File,
    /// The file whose flock(2) keeps other processes out of the folder.
    _lock: File,
}

impl Store {
    /// Reserves the id of an execution for the calling task. Other tasks that accept, refuse
    /// (burn), repair, delete or append to the same id wait until the returned value is dropped.
    /// Blocks the thread.
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

    /// Locks the index, the file that lists the executions in order of acceptance.
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the position in the index for a new execution. No position is returned twice.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether an execution with this id has a record file, intact or damaged. False if the disk
    /// cannot be read.
    pub(crate) fn has_record(&self, id: Uuid) -> bool {
        record_path(&self.folder(id)).exists()
    }

    /// Reads the facts of an execution that never change, from its record file. `None` if it has
    /// none.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if the header is damaged, or the error of the operating
    /// system.
    pub(crate) fn header(&self, id: Uuid) -> io::Result<Option<Header>> {
        Header::read_path(&record_path(&self.folder(id)))
    }

    /// Returns the path of the folder with the files of an accepted execution.
    pub(crate) fn folder(&self, id: Uuid) -> PathBuf {
        self.dir.join("executions").join(name(id))
    }

    /// Returns the path at which the folder of an execution is created before its acceptance, and
    /// to which it is moved before its removal. The start of the service removes what is left
    /// there.
    pub(crate) fn staging(&self, id: Uuid) -> PathBuf {
        self.dir.join("staging").join(name(id))
    }

    /// Returns the path of the file that remembers the deletion of an execution.
    pub(crate) fn tombstone_path(&self, id: Uuid) -> PathBuf {
        self.dir.join("tombstones").join(name(id))
    }
}

/// A reservation of an execution's id by one task, from [`Store::hold`]. It ends when this is
/// dropped.
pub(crate) struct Busy<'a> {
    /// The store that holds the reservation.
    store: &'a Store,
    /// The reserved id.
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

/// Returns the name of the folder or file that belongs to an execution: its id as a hyphenated
/// UUID.
pub(crate) fn name(id: Uuid) -> String {
    id.hyphenated().to_string()
}

/// Lists the ids by which the files or folders in `dir` are named. Other names are skipped.
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
