//! Opening the spool: prove that it can be written, finish what a crash cut off, make the index fit the folders.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock, fstatfs, fstatvfs};

use super::*;
use crate::files::{BLOCK, Store, TMPFS_MAGIC, is_full};

/// statfs(2).
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

impl Spool {
    /// Opens the spool in `dir`, making it where it is missing. Says what is unwise about the place.
    ///
    /// # Errors
    /// `InUse` while another process has it, `Unwritable`, or the disk's.
    pub fn open(dir: &Path, limits: SpoolLimits) -> Result<(Self, Vec<String>), SpoolError> {
        for folder in ["executions", "staging", "tombstones", "burned"] {
            private_dir(&dir.join(folder))
                .map_err(SpoolError::unwritable("the spool's folders"))?;
        }
        let lock = open_file(&dir.join("lock")).map_err(SpoolError::unwritable("the lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SpoolError::InUse(dir.to_owned())),
            Err(error) => return Err(SpoolError::unwritable("the lock")(error.into())),
        }
        let (probe, warnings) = probe(dir).map_err(SpoolError::unwritable("the probe"))?;
        let shared = Shared {
            dir: dir.to_owned(),
            limits,
            index: Mutex::new(
                Index::open(&dir.join("index")).map_err(SpoolError::unwritable("the index"))?,
            ),
            next_sequence: AtomicU64::new(0),
            busy: Mutex::default(),
            freed: Condvar::new(),
            open: Mutex::default(),
            sweep: Mutex::default(),
            measured_bytes: AtomicU64::new(0),
            probe,
            _lock: lock,
        };
        shared.finish_deletions()?;
        empty(&dir.join("staging"))?;
        shared.fit_index()?;
        let positions = shared.index().positions()?;
        shared.next_sequence.store(positions, Ordering::SeqCst);
        // Last, because the lock, the probe and the index exist now.
        private_dir(dir).map_err(SpoolError::unwritable("the spool's folder"))?;
        sync_dir(dir)?;
        Ok((
            Self {
                shared: Arc::new(shared),
            },
            warnings,
        ))
    }

    /// Whether the disk takes a write now and has room for `need_bytes`: for readiness. Some microseconds.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn check_writable(&self, need_bytes: u64) -> Result<(), String> {
        let probe = &self.shared.probe;
        let dir = self.shared.dir.display();
        let cannot = |error: io::Error| format!("the spool {dir} cannot be written: {error}");
        probe
            .write_all_at(&[1; BLOCK as usize], 0)
            .map_err(cannot)?;
        // An acceptance makes a folder there.
        rustix::fs::access(
            self.shared.dir.join("staging"),
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
        )
        .map_err(|error| cannot(error.into()))?;
        let room = fstatvfs(probe).map_err(|error| cannot(error.into()))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < need_bytes {
            return Err(format!(
                "the spool {dir} has {free} bytes left of the {need_bytes} it should have"
            ));
        }
        if room.f_files > 0 && room.f_favail == 0 {
            return Err(format!("the spool {dir} has no inode left"));
        }
        Ok(())
    }
}

impl Shared {
    /// A tombstone that still has a whole record in it is of a deletion that was cut off.
    fn finish_deletions(&self) -> io::Result<()> {
        for id in ids_in(&self.dir.join("tombstones"))? {
            let path = self.tombstone_path(id?);
            let finished = match fs::metadata(&path) {
                Ok(found) if found.len() <= SLOTS_AT => continue,
                Ok(_) => Header::read_path(&path),
                Err(error) => Err(error),
            };
            let finished = match finished {
                Ok(Some(header)) => self.clear_away(&header),
                other => other.map(|_| ()),
            };
            // The rest of an unfinished deletion takes room, but must not stop the start.
            if let Err(error) = finished {
                tracing::error!(%error, path = %path.display(), "could not finish a deletion");
            }
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    private()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Writes the probe's block and finds out about the file system.
fn probe(dir: &Path) -> io::Result<(File, Vec<String>)> {
    let mut warnings = Vec::new();
    let file = open_file(&dir.join("probe"))?;
    let shown = dir.display();
    // A full disk is no reason not to start: statuses can be written and executions deleted, and readiness says it.
    let filled = match file.write_all_at(&[0; BLOCK as usize], 0) {
        Err(error) if is_full(&error) => {
            warnings.push(format!("the disk of the spool {shown} is full: {error}"));
            false
        }
        written => written.map(|()| true)?,
    };
    if filled
        && file.write_all_at(&[0; BLOCK as usize], BLOCK).is_ok()
        && let Err(error) = file.punch(BLOCK, 2 * BLOCK)
    {
        warnings.push(format!(
            "the file system of {shown} cannot free the beginning of a file ({error}): an execution that reaches its cap \
             loses all that is kept of it at once"
        ));
    }
    file.set_len(BLOCK)?;
    file.sync_all()?;
    match fstatfs(&file)?.f_type as i64 {
        OVERLAYFS_MAGIC => warnings.push(format!(
            "the spool {shown} is on a container's own layer (overlayfs), where an append costs 25 times more and \
             nothing outlives the container: put it on a volume"
        )),
        TMPFS_MAGIC => warnings.push(format!("the spool {shown} is in memory (tmpfs): nothing outlives a restart of the machine")),
        _ => {}
    }
    Ok((file, warnings))
}

/// Empties a folder. Entries that cannot be removed are logged and stay.
fn empty(dir: &Path) -> io::Result<()> {
    for found in fs::read_dir(dir)? {
        let path = found?.path();
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(%error, path = %path.display(), "could not remove a left-over");
        }
    }
    Ok(())
}
