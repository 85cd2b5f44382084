//! Files: the few system calls the spool needs, behind a trait so that tests can fill a disk
//! without one.

use std::{
    fs::{self, File},
    io::{self, IoSliceMut},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use rustix::{
    buffer::spare_capacity,
    fs::{FallocateFlags, fallocate, fstatfs},
    io::{Errno, ReadWriteFlags},
};

mod modes;

pub use modes::private_dir;
pub(crate) use modes::{create_dir, create_or_open, private};

/// The block that hole punching frees in. Larger blocks of a file system only make the freeing
/// coarser.
pub(crate) const BLOCK: u64 = 4096;
/// The type of a file system in memory, as fstatfs(2) tells it.
pub(crate) const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A file addressed by offset whose oldest bytes can be given back.
pub(crate) trait SparseFile: Send + Sync {
    /// Writes some of `bytes` at `at`, as pwrite(2).
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Appends to `into`, at most its spare capacity, from `at`, as pread(2).
    fn read_at(&self, into: &mut Vec<u8>, at: u64) -> io::Result<usize>;
    /// As [`SparseFile::read_at`] into `into` itself, but only what is in memory already: an error
    /// of kind `WouldBlock` where the disk would have to be waited for, any other where this cannot
    /// be told (preadv2(2), RWF_NOWAIT).
    fn read_cached(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Gives the blocks of `[from, to)` back; they read as zeros and the length stays.
    fn punch(&self, from: u64, to: u64) -> io::Result<()>;
    /// Cuts, or extends by a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
}

impl SparseFile for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn read_at(&self, into: &mut Vec<u8>, at: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(self, spare_capacity(into), at)?)
    }

    fn read_cached(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut parts = [IoSliceMut::new(into)];
        match rustix::io::preadv2(self, &mut parts, at, ReadWriteFlags::NOWAIT) {
            // tmpfs refuses the call, though its bytes are in memory always.
            Err(Errno::OPNOTSUPP) if fstatfs(self)?.f_type as i64 == TMPFS_MAGIC => {
                Ok(rustix::io::pread(self, &mut parts[0][..], at)?)
            }
            read => Ok(read?),
        }
    }

    fn punch(&self, from: u64, to: u64) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        Ok(fallocate(
            self,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            from,
            to - from,
        )?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Reads exactly `n` bytes at `at`, or fewer where the file ends.
pub(crate) fn read_up_to(file: &dyn SparseFile, at: u64, n: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(n);
    while bytes.len() < n {
        let here = at + bytes.len() as u64;
        match file.read_at(&mut bytes, here) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The allocator may have given more room than asked for, and pread fills what there is.
    bytes.truncate(n);
    Ok(bytes)
}

/// The `n` bytes at `at`, if all of them are in memory already; None where the disk might have to
/// be waited for.
pub(crate) fn read_cached(file: &dyn SparseFile, at: u64, n: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; n];
    match file.read_cached(&mut bytes, at) {
        Ok(count) if count == n => Some(bytes),
        // A part of it, or none, or no such call on this file system: the usual way will tell.
        Ok(_) | Err(_) => None,
    }
}

/// Writes all of `bytes` at `at`.
pub(crate) fn write_all(file: &dyn SparseFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                at += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the names in a folder durable (fsync(2): syncing a file does not sync its entry in the
/// folder).
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Waits until all of these are on disk: at the same time, so that they share the flush of the disk
/// that each needs.
pub(crate) fn sync_together(first: &File, others: &[File]) -> io::Result<()> {
    thread::scope(|scope| {
        let begin = |file| thread::Builder::new().spawn_scoped(scope, move || File::sync_all(file));
        let begun: Vec<_> = others.iter().map(|file| (file, begin(file))).collect();
        let mut synced = first.sync_all();
        for (file, thread) in begun {
            let other = match thread {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a sync panicked"))),
                // No thread is to be had: one after the other then.
                Err(_) => file.sync_all(),
            };
            synced = synced.and(other);
        }
        synced
    })
}

/// Returns the time at which a file was last written to, or renewed.
///
/// It is the later one of mtime and ctime: any process of this user can set mtime back (`touch -d`)
/// and so make a record look expired, but nobody can set ctime (inode(7)).
#[must_use]
pub fn last_change(metadata: &fs::Metadata) -> SystemTime {
    let since_epoch = Duration::new(
        u64::try_from(metadata.ctime()).unwrap_or(0),
        u32::try_from(metadata.ctime_nsec()).unwrap_or(0),
    );
    let changed = SystemTime::UNIX_EPOCH + since_epoch;
    metadata
        .modified()
        .map_or(changed, |modified| modified.max(changed))
}

/// Whether an error means damaged or truncated data, not an unreadable disk.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Whether freeing bytes could help: the disk or a quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    #[test]
    fn what_was_just_written_is_read_without_the_disk_and_a_part_is_not_taken_for_all() {
        let file = tempfile::tempfile().unwrap();
        write_all(&file, &[b'x'; 3 * BLOCK as usize], 0).unwrap();
        // A file system may not know the call; a wrong answer is none of those it may give.
        let cached = read_cached(&file, BLOCK, 2 * BLOCK as usize);
        assert!(cached.is_none_or(|bytes| bytes == [b'x'; 2 * BLOCK as usize]));
        assert_eq!(read_cached(&file, 2 * BLOCK, 2 * BLOCK as usize), None);
    }

    #[test]
    fn a_file_in_memory_is_read_at_once() {
        // A file of tmpfs, which has no RWF_NOWAIT.
        let file = memfd_create(c"a spool", MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(file);
        write_all(&file, b"written", 0).unwrap();
        assert_eq!(read_cached(&file, 2, 5).as_deref(), Some(&b"itten"[..]));
        assert_eq!(read_cached(&file, 2, 6), None, "a part is not all");
    }
}
