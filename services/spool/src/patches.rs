//! The patches of an execution are the places where its output of format `events` differs from the
//! CLI's stdout. They differ because the output must be valid UTF-8. With the patches, the stdout
//! can be rebuilt from the output file, and need not be stored a second time.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use protocol::Patch;

use crate::files::{SparseFile, read_cached, read_up_to, u32_at, u64_at, write_all};

/// The length of a patch on disk before its original bytes: checksum, offset and two lengths.
const HEAD_BYTES: usize = 20;
/// The size of one read while all patches of an execution are read in turn (256 KiB).
const BLOCK_BYTES: usize = 256 * 1024;

/// The oldest position from which the CLI's stdout can be rebuilt, as an offset in the output and
/// in the stdout. Patches before it no longer exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The position as an offset in the output.
    pub(crate) output: u64,
    /// The same position as an offset in the CLI's stdout.
    pub(crate) events: u64,
}

/// The patches of one execution, in the order of their offsets, stored in its `events` file. A
/// patch is a place where the output differs from the CLI's stdout. One writer appends patches;
/// readers rebuild the stdout with them.
pub(crate) struct PatchLog {
    /// The events file.
    file: Box<dyn SparseFile>,
    /// The length of all complete patches in the file, in bytes; readers read no further.
    len: AtomicU64,
    /// The oldest position from which the stdout can be rebuilt. A lock, because its two offsets
    /// change together. No await happens under it.
    floor: Mutex<Floor>,
    /// How many bytes longer the CLI's stdout is than the output, over all patches ever appended.
    /// Negative if the stdout is shorter. Only the writer uses this field.
    growth: AtomicI64,
}

/// A part of the file of patches that was read in advance, so that reading all patches in turn
/// needs few reads of the disk.
#[derive(Default)]
pub(crate) struct Block {
    /// The offset in the file of the first byte in memory.
    at: u64,
    /// The bytes in memory; empty before the first read.
    bytes: Vec<u8>,
}

impl Block {
    /// Returns `n` bytes at the offset `at`, from memory if all are there, and otherwise with a new
    /// read. Returns fewer only if the file ends before.
    fn read(&mut self, file: &dyn SparseFile, at: u64, n: usize) -> io::Result<Vec<u8>> {
        let from = at.checked_sub(self.at).map(usize::try_from);
        if let Some(Ok(from)) = from
            && let Some(bytes) = self.bytes.get(from..from.saturating_add(n))
        {
            return Ok(bytes.to_vec());
        }
        self.bytes = read_up_to(file, at, n.max(BLOCK_BYTES))?;
        self.at = at;
        Ok(self.bytes[..n.min(self.bytes.len())].to_vec())
    }
}

impl PatchLog {
    /// Opens the patches in `file`. `floor` is the oldest position that can be rebuilt; patches
    /// before it are ignored. If the execution has not `ended`, a crash may have interrupted its
    /// writer. This then cuts off a torn last patch, and patches for output after `output_len`,
    /// which was never written.
    pub(crate) fn load(
        file: Box<dyn SparseFile>,
        floor: Floor,
        output_len: u64,
        ended: bool,
    ) -> io::Result<Self> {
        let log = Self {
            len: AtomicU64::new(file.len()?),
            file,
            growth: AtomicI64::new(floor.events.wrapping_sub(floor.output) as i64),
            floor: Mutex::new(floor),
        };
        if !ended {
            let (mut at, mut block) = (0, Block::default());
            while let Some((patch, next)) = log.read_ahead(at, &mut block)?
                && patch.end() <= output_len
            {
                at = next;
                if patch.offset >= floor.output {
                    log.growth.fetch_add(patch.growth(), Ordering::SeqCst);
                }
            }
            log.file.set_len(at)?;
            log.len.store(at, Ordering::SeqCst);
        }
        Ok(log)
    }

    /// Locks the oldest position from which the stdout can be rebuilt.
    fn lock_floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the oldest position from which the CLI's stdout can be rebuilt.
    pub(crate) fn floor(&self) -> Floor {
        *self.lock_floor()
    }

    /// Converts the offset `output` into a position with both offsets, in the output and in the
    /// CLI's stdout. `output` must lie after all patches appended so far.
    pub(crate) fn floor_at(&self, output: u64) -> Floor {
        let growth = self.growth.load(Ordering::SeqCst);
        Floor {
            output,
            events: output.saturating_add_signed(growth),
        }
    }

    /// Returns the length of all complete patches in the file, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    /// Appends patches for output that will be appended next. If they cannot be written, the file
    /// stays as it was, but [`PatchLog::floor_at`] counts them, because the CLI wrote their bytes.
    pub(crate) fn append(&self, patches: &[Patch]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for patch in patches {
            encode(patch, &mut bytes);
            // This counts patches that cannot be written too: the CLI wrote their bytes.
            self.growth.fetch_add(patch.growth(), Ordering::SeqCst);
        }
        let at = self.bytes();
        write_all(&*self.file, &bytes, at)?;
        self.len.store(at + bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// Records in memory that the CLI's stdout before `floor` can no longer be rebuilt, because
    /// patches could not be written or removed. Changes nothing if the present floor is higher.
    pub(crate) fn raise_floor(&self, floor: Floor) {
        let mut current = self.lock_floor();
        if floor.output > current.output {
            *current = floor;
        }
    }

    /// Removes all patches from the file. From now on, the CLI's stdout can be rebuilt only from
    /// `floor` on.
    pub(crate) fn forget(&self, floor: Floor) -> io::Result<()> {
        *self.lock_floor() = floor;
        self.len.store(0, Ordering::SeqCst);
        self.file.set_len(0)
    }

    /// Reads the patch at the position `at` of the file, and returns it with the position of the
    /// next one. `None` at the end, and for a patch that is torn or has a wrong checksum. Blocks on
    /// the disk.
    pub(crate) fn read(&self, at: u64) -> io::Result<Option<(Patch, u64)>> {
        self.read_with(at, |at, n| read_up_to(&*self.file, at, n))
    }

    /// Reads one patch, like [`PatchLog::read`], but reads the file in large pieces that stay in
    /// `block`, to go through all patches. If [`PatchLog::floor`] is the same afterwards, no patch
    /// was removed during the pass.
    pub(crate) fn read_ahead(
        &self,
        at: u64,
        block: &mut Block,
    ) -> io::Result<Option<(Patch, u64)>> {
        self.read_with(at, |at, n| block.read(&*self.file, at, n))
    }

    /// Reads one patch, like [`PatchLog::read`], but only from memory.
    ///
    /// # Errors
    /// `WouldBlock` if the read would wait for the disk.
    pub(crate) fn read_cached(&self, at: u64) -> io::Result<Option<(Patch, u64)>> {
        self.read_with(at, |at, n| {
            read_cached(&*self.file, at, n).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
    }

    /// Reads and checks the patch at the position `at`, with `read` to get bytes of the file.
    /// `None` at the end, and for a patch that is torn or has a wrong checksum.
    fn read_with(
        &self,
        at: u64,
        mut read: impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
    ) -> io::Result<Option<(Patch, u64)>> {
        let end = self.bytes();
        if at + HEAD_BYTES as u64 > end {
            return Ok(None);
        }
        let head = read(at, HEAD_BYTES)?;
        if head.len() < HEAD_BYTES {
            return Ok(None);
        }
        let original_len = u32_at(&head, 16) as usize;
        let next = at + (HEAD_BYTES + original_len) as u64;
        if next > end {
            return Ok(None);
        }
        let bytes = read(at, HEAD_BYTES + original_len)?;
        if bytes.len() < HEAD_BYTES + original_len
            || crc32fast::hash(&bytes[4..]) != u32_at(&bytes, 0)
        {
            return Ok(None);
        }
        let patch = Patch {
            offset: u64_at(&bytes, 4),
            len: u32_at(&bytes, 12),
            original: bytes[HEAD_BYTES..].to_vec(),
        };
        Ok(Some((patch, next)))
    }
}

/// Appends a patch to `into` as it is stored on disk: the CRC-32 of the rest, the offset, both
/// lengths, and the original bytes.
fn encode(patch: &Patch, into: &mut Vec<u8>) {
    let Patch {
        offset,
        len,
        original,
    } = patch;
    let from = into.len();
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&offset.to_le_bytes());
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(&(original.len() as u32).to_le_bytes());
    into.extend_from_slice(original);
    let crc = crc32fast::hash(&into[from + 4..]);
    into[from..from + 4].copy_from_slice(&crc.to_le_bytes());
}
