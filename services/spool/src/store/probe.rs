//! The probe is a file of one block, which is rewritten to test whether the disk is writable.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::atomic::Ordering};

use rustix::fs::{Access, StatVfs, access, fstatfs, fstatvfs};

use super::Store;
use crate::files::{BLOCK, SparseFile, TMPFS_MAGIC, create_or_open, is_full};

/// The number by which fstatfs(2) identifies an overlayfs, the file system of a container's own
/// layer.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

impl Store {
    /// Checks that the disk can be written now and has `need_bytes` bytes and an inode free.
    /// Rewrites one block of the file `probe` for this, and notes the free bytes. The readiness
    /// check calls it. Takes a few microseconds.
    ///
    /// # Errors
    /// A sentence for the operator that says what is wrong.
    pub(crate) fn check_writable(&self, need_bytes: u64) -> Result<(), String> {
        let probe = &self.probe;
        let dir = self.dir.display();
        let cannot = |error: io::Error| format!("the spool {dir} cannot be written: {error}");
        probe
            .write_all_at(&[1; BLOCK as usize], 0)
            .map_err(cannot)?;
        // An acceptance creates a folder in `staging`.
        access(self.dir.join("staging"), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| cannot(error.into()))?;
        let room = fstatvfs(probe).map_err(|error| cannot(error.into()))?;
        let free = available(&room);
        self.free_bytes.store(free, Ordering::Relaxed);
        if free < need_bytes {
            return Err(format!(
                "the spool {dir} has {free} bytes left, but needs {need_bytes}"
            ));
        }
        if room.f_files > 0 && room.f_favail == 0 {
            return Err(format!("the spool {dir} has no inode left"));
        }
        Ok(())
    }
}

/// Returns the number of bytes that this user can still write to the disk of `file`.
///
/// # Errors
/// The error of the operating system.
pub(super) fn free_bytes(file: &File) -> io::Result<u64> {
    Ok(available(&fstatvfs(file)?))
}

/// Returns the number of bytes that this user can still write to a disk.
fn available(disk: &StatVfs) -> u64 {
    disk.f_bavail.saturating_mul(disk.f_frsize)
}

/// Creates the file `probe`, and tests with it what the file system can do. Returns the open file,
/// and warnings for the operator, for example that the disk is full or that the spool is in memory.
///
/// # Errors
/// The error of the operating system if the file cannot be created or written. A full disk is only
/// a warning.
pub(super) fn create_probe(dir: &Path) -> io::Result<(File, Vec<String>)> {
    let mut warnings = Vec::new();
    let file = create_or_open(&dir.join("probe"))?;
    let shown = dir.display();
    // A full disk does not prevent the start: statuses can be written and executions deleted, and
    // readiness reports it.
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
            "the file system of {shown} cannot free the beginning of a file ({error}): an \
             execution that reaches its output cap loses all of its kept output"
        ));
    }
    file.set_len(BLOCK)?;
    file.sync_all()?;
    match fstatfs(&file)?.f_type as i64 {
        OVERLAYFS_MAGIC => warnings.push(format!(
            "the spool {shown} is on a container's own layer (overlayfs), where an append costs 25 \
             times more and data is lost with the container: put the spool on a volume"
        )),
        TMPFS_MAGIC => warnings.push(format!(
            "the spool {shown} is in memory (tmpfs): a restart of the machine loses all data"
        )),
        _ => {}
    }
    Ok((file, warnings))
}
