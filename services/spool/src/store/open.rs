//! Opening the files of the spool: checks that the disk is writable, finishes interrupted
//! deletions, and repairs the index.

use std::{
    fs, io,
    path::Path,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FlockOperation, flock};

use super::{
    Store,
    probe::{create_probe, free_bytes},
};
use crate::{
    error::SpoolError,
    files::{create_or_open, private_dir, sync_dir},
    index::Index,
    limits::SpoolLimits,
};

impl Store {
    /// Opens the spool's files in the folder `dir`, and creates them if they are missing. Locks the
    /// folder against other processes, finishes deletions that a crash interrupted, removes
    /// executions that were never confirmed to a client, and repairs the index. The returned texts
    /// are warnings about the file system for the operator.
    ///
    /// # Errors
    /// `InUse` if another process has locked the folder, `Unwritable`, or `Io`.
    pub(crate) fn open(dir: &Path, limits: SpoolLimits) -> Result<(Self, Vec<String>), SpoolError> {
        for folder in ["executions", "staging", "tombstones", "burned"] {
            private_dir(&dir.join(folder))
                .map_err(SpoolError::unwritable("the spool's folders"))?;
        }
        let lock = create_or_open(&dir.join("lock")).map_err(SpoolError::unwritable("the lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SpoolError::InUse(dir.to_owned())),
            Err(error) => return Err(SpoolError::unwritable("the lock")(error.into())),
        }
        let (probe, warnings) = create_probe(dir).map_err(SpoolError::unwritable("the probe"))?;
        let store = Self {
            dir: dir.to_owned(),
            limits,
            index: Mutex::new(
                Index::open(&dir.join("index")).map_err(SpoolError::unwritable("the index"))?,
            ),
            next_sequence: AtomicU64::new(0),
            busy: Mutex::default(),
            released: Condvar::new(),
            sweep: Mutex::default(),
            measured_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(free_bytes(&probe).unwrap_or(0)),
            probe,
            _lock: lock,
        };
        store.finish_deletions()?;
        empty(&dir.join("staging"))?;
        store.repair_index()?;
        let positions = store.index().positions()?;
        store.next_sequence.store(positions, Ordering::SeqCst);
        // Last, because the lock, the probe and the index must exist.
        private_dir(dir).map_err(SpoolError::unwritable("the spool's folder"))?;
        sync_dir(dir)?;
        Ok((store, warnings))
    }
}

/// Removes all files and folders in the folder `dir`. A file that cannot be removed is logged and
/// stays.
fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(
                %error, path = %path.display(),
                "could not remove a leftover of an unfinished acceptance or deletion; the next \
                 start retries"
            );
        }
    }
    Ok(())
}
