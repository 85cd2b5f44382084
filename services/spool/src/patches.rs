//! The patches of an execution: the places where its output of format `events` differs from the
//! CLI's stdout. With them, the output file holds both.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use protocol::Patch;

use crate::files::{SparseFile, read_cached, read_up_to, u32_at, u64_at, write_all};

const HEAD_BYTES: usize = 20;
/// The size of one read during a walk over the whole log, in bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// The oldest position from which the events can be rebuilt. Earlier patches no longer exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The offset in the output.
    pub(crate) output: u64,
    /// The offset of the same position in the events.
    pub(crate) events: u64,
}

/// The patches of one execution, in order of offset, in its `events` file.
pub(crate) struct PatchLog {
    file: Box<dyn SparseFile>,
    /// The bytes of whole patches; readers read no further.
    len: AtomicU64,
    /// A lock, because the two offsets change together. No await happens under it.
    floor: Mutex<Floor>,
    /// The summed growth of all patches ever appended. Only the writer uses this field.
    growth: AtomicI64,
}

/// A block of the log that a walk has read ahead.
#[derive(Default)]
pub(crate) struct Block {
    at: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// Reads exactly `n` bytes at `at`, or fewer where the file ends.
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
    /// Opens the log in `file`. After a crash (`ended` is false), cuts off a torn last patch and
    /// patches for output that was never written.
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

    fn lock_floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the position from which the events can be rebuilt.
    pub(crate) fn floor(&self) -> Floor {
        *self.lock_floor()
    }

    /// Returns the floor at an output offset after all patches.
    pub(crate) fn floor_at(&self, output: u64) -> Floor {
        let growth = self.growth.load(Ordering::SeqCst);
        Floor {
            output,
            events: output.saturating_add_signed(growth),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

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

    /// Records that events before `floor` can no longer be rebuilt, although their patches may
    /// still exist.
    pub(crate) fn raise_floor(&self, floor: Floor) {
        let mut current = self.lock_floor();
        if floor.output > current.output {
            *current = floor;
        }
    }

    /// Removes every patch: the events can then be rebuilt only from `floor`.
    pub(crate) fn forget(&self, floor: Floor) -> io::Result<()> {
        *self.lock_floor() = floor;
        self.len.store(0, Ordering::SeqCst);
        self.file.set_len(0)
    }

    /// Reads the patch at a position of the log, and returns it with the next position. None at the
    /// end and for a torn patch. Blocks on the disk.
    pub(crate) fn read(&self, at: u64) -> io::Result<Option<(Patch, u64)>> {
        self.read_with(at, |at, n| read_up_to(&*self.file, at, n))
    }

    /// Reads as [`PatchLog::read`] does, but in large blocks, for a walk over the whole log. If the
    /// floor is unchanged after the walk, no patch was missed.
    pub(crate) fn read_ahead(
        &self,
        at: u64,
        block: &mut Block,
    ) -> io::Result<Option<(Patch, u64)>> {
        self.read_with(at, |at, n| block.read(&*self.file, at, n))
    }

    /// Reads as [`PatchLog::read`] does, but only from memory. Fails with `WouldBlock` if the read
    /// would wait for the disk.
    pub(crate) fn read_cached(&self, at: u64) -> io::Result<Option<(Patch, u64)>> {
        self.read_with(at, |at, n| {
            read_cached(&*self.file, at, n).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
    }

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

/// Encodes a patch as on disk: crc of the rest, offset, lengths, original.
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
