//! Patches: where the output of format `events` differs from the CLI's stdout. With them the one
//! file holds both.

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
/// One read of a walk over the whole log, in bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// Where the events can be rebuilt from: patches before it are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The offset in the output.
    pub(crate) output: u64,
    /// The offset of the same place in the events.
    pub(crate) events: u64,
}

/// The patches of one execution, in order of offset, in its `events` file.
pub(crate) struct PatchLog {
    file: Box<dyn SparseFile>,
    /// The bytes of whole patches; readers look no further.
    len: AtomicU64,
    /// A lock, because its two offsets change together. No await happens inside it.
    floor: Mutex<Floor>,
    /// The growth of all patches ever appended. Only the writer uses it.
    growth: AtomicI64,
}

/// A part of the log that a walk has read ahead.
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
    /// Takes up what is in the file. After a crash (`ended` false) patches of output that was never
    /// written, and a torn last one, are cut off.
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

    /// Where the events can be rebuilt from.
    pub(crate) fn floor(&self) -> Floor {
        *self.lock_floor()
    }

    /// The floor at an output offset behind all patches.
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
            // Also of a patch that the disk does not take: the CLI wrote its bytes.
            self.growth.fetch_add(patch.growth(), Ordering::SeqCst);
        }
        let at = self.bytes();
        write_all(&*self.file, &bytes, at)?;
        self.len.store(at + bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// Notes that events before `floor` cannot be rebuilt any more, although their patches may
    /// still exist.
    pub(crate) fn raise_floor(&self, floor: Floor) {
        let mut now = self.lock_floor();
        if floor.output > now.output {
            *now = floor;
        }
    }

    /// Forgets every patch: the events can be rebuilt from `floor` only.
    pub(crate) fn forget(&self, floor: Floor) -> io::Result<()> {
        *self.lock_floor() = floor;
        self.len.store(0, Ordering::SeqCst);
        self.file.set_len(0)
    }

    /// The patch at a position of the log and the position behind it. None at the end, and where
    /// the patch is not whole. Blocks on the disk.
    pub(crate) fn read(&self, at: u64) -> io::Result<Option<(Patch, u64)>> {
        self.read_by(at, |at, n| read_up_to(&*self.file, at, n))
    }

    /// Reads as [`PatchLog::read`] does, with few reads of the file for a walk over the whole log.
    /// After a walk, a floor that is still the same proves that no patch was missed.
    pub(crate) fn read_ahead(
        &self,
        at: u64,
        block: &mut Block,
    ) -> io::Result<Option<(Patch, u64)>> {
        self.read_by(at, |at, n| block.read(&*self.file, at, n))
    }

    /// Reads from memory as [`PatchLog::read`] does; an error of kind `WouldBlock` when it would
    /// wait for the disk.
    pub(crate) fn read_cached(&self, at: u64) -> io::Result<Option<(Patch, u64)>> {
        self.read_by(at, |at, n| {
            read_cached(&*self.file, at, n).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
    }

    fn read_by(
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

/// Appends a patch as it is on disk: crc of the rest, offset, lengths, original.
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
