//! The file system calls that the spool needs, behind a trait, so that tests can simulate a full
//! disk.

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

pub(crate) use modes::{create_dir, create_or_open, private};
pub use modes::{private_dir, write_private};

/// The granularity in bytes at which the beginning of a file is freed (hole punching): 4 KiB. On a
/// file system with larger blocks, less is freed at a time.
pub(crate) const BLOCK: u64 = 4096;
/// The number by which fstatfs(2) identifies a tmpfs, whose files live in memory.
pub(crate) const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A file that is read and written at offsets, and whose oldest bytes can be freed while its length
/// stays. Tests replace it by one on a simulated full disk.
pub(crate) trait SparseFile: Send + Sync {
    /// Writes `bytes`, or only the beginning of them, at the offset `at`. Returns the number of
    /// bytes written, like pwrite(2).
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Reads from the offset `at`, and appends the bytes to `into`, at most its spare capacity.
    /// Returns the number of bytes read, like pread(2); 0 means the end of the file.
    fn read_at(&self, into: &mut Vec<u8>, at: u64) -> io::Result<usize>;
    /// Fills `into` with bytes from the offset `at` that are in memory already, without waiting for
    /// the disk (preadv2(2), `RWF_NOWAIT`). Returns the number of bytes read.
    ///
    /// # Errors
    /// `WouldBlock` (EAGAIN) if the read would wait for the disk, and another error if the file
    /// system cannot tell.
    fn read_cached(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Frees the disk blocks of the range `[from, to)` (hole punching, fallocate(2)). The range
    /// then reads as zeros, and the length of the file stays. Fails on file systems that cannot do
    /// this.
    fn punch(&self, from: u64, to: u64) -> io::Result<()>;
    /// Truncates the file to `len` bytes, or extends it with zeros that use no disk space.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns the length of the file in bytes, including freed ranges.
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
            // tmpfs refuses the call although its bytes are always in memory.
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

/// Reads `n` bytes at the offset `at`. Returns fewer only if the file ends before.
pub(crate) fn read_up_to(file: &dyn SparseFile, at: u64, n: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(n);
    while bytes.len() < n {
        let offset = at + bytes.len() as u64;
        match file.read_at(&mut bytes, offset) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The allocator may have reserved more than `n` bytes, and pread fills all of them.
    bytes.truncate(n);
    Ok(bytes)
}

/// Returns the `n` bytes at the offset `at` if all of them are in memory already. Async code can
/// then read them without another thread. `None` if the read might wait for the disk, fails, or the
/// file system cannot tell.
pub(crate) fn read_cached(file: &dyn SparseFile, at: u64, n: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; n];
    match file.read_cached(&mut bytes, at) {
        Ok(count) if count == n => Some(bytes),
        // Only a part, nothing, or a file system without this call: the caller then reads normally.
        Ok(_) | Err(_) => None,
    }
}

/// Writes all of `bytes` at the offset `at`. On an error a part of them may be written.
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

/// Waits until created, renamed and removed names in the folder `dir` are on disk. This is a
/// separate step, because syncing a file does not sync its name (fsync(2)).
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Waits until all these files are on disk (fsync(2)). Syncs them at the same time on several
/// threads, so that they share one flush of the disk. If several fail, returns the first error.
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
                // No thread could be started, so sync one after the other.
                Err(_) => file.sync_all(),
            };
            synced = synced.and(other);
        }
        synced
    })
}

/// Returns the time at which a file was last written or renewed, as the later of its mtime and
/// ctime.
///
/// Any process of this user can set mtime back (`touch -d`), and so make a file look expired. No
/// process can set ctime (inode(7)).
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

/// Whether an error from reading the spool means damaged or truncated data, which can be repaired.
/// False for an error of the disk itself.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Whether an error means that the disk or a quota is full (ENOSPC, EDQUOT), so that freeing bytes
/// could help.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Returns the little-endian integer in the eight bytes at `at`. Panics if `bytes` is shorter.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Returns the little-endian integer in the four bytes at `at`. Panics if `bytes` is shorter.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Returns a copy of the `N` bytes at `at`. Panics if `bytes` is shorter.
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
    fn read_cached_returns_just_written_bytes_and_none_for_a_part() {
        let file = tempfile::tempfile().unwrap();
        write_all(&file, &[b'x'; 3 * BLOCK as usize], 0).unwrap();
        // A file system may lack the call and return None, but it must not return wrong bytes.
        let cached = read_cached(&file, BLOCK, 2 * BLOCK as usize);
        assert!(cached.is_none_or(|bytes| bytes == [b'x'; 2 * BLOCK as usize]));
        assert_eq!(read_cached(&file, 2 * BLOCK, 2 * BLOCK as usize), None);
    }

    #[test]
    fn read_cached_reads_a_tmpfs_file() {
        // memfd_create makes a file of tmpfs, which has no RWF_NOWAIT.
        let file = memfd_create(c"a spool", MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(file);
        write_all(&file, b"written", 0).unwrap();
        assert_eq!(read_cached(&file, 2, 5).as_deref(), Some(&b"itten"[..]));
        assert_eq!(read_cached(&file, 2, 6), None, "a part is not all");
    }
}
