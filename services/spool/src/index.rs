//! The index is a file that lists the executions in order of acceptance. It has one row of 64 bytes
//! per execution, at the position of the execution's sequence number.
//!
//! The folders decide which executions exist. The index only avoids reading every folder for lists,
//! for deletion by age and size, and at the start of the service.
//!
//! A position is never used twice. A deleted execution leaves zeros. Zeros before the oldest row
//! are not read again, and their disk space is freed. So the cost of a scan grows with the
//! executions since the oldest existing one, not with all executions ever accepted.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{SeekFrom, seek};

use uuid::Uuid;

use crate::files::{self, BLOCK, create_or_open};

mod row;

use row::ROW_BYTES;
pub(crate) use row::{EndFacts, Row, Slot};

/// The number of rows that are read from the disk at a time (1024 rows, 64 KiB).
const ROWS_AT_ONCE: u64 = 1024;

/// The open index file, which lists the executions in order of acceptance. Reads, writes and scans
/// its rows.
#[derive(Debug)]
pub(crate) struct Index {
    /// The index file.
    file: File,
    /// The first position that may hold a row, where scans begin. All earlier positions are free.
    first: AtomicU64,
}

impl Index {
    /// Opens the index file, which lists the executions, and creates it if it is missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = create_or_open(path)?;
        // Skip the hole at the beginning, if the file system reports one.
        let data = seek(&file, SeekFrom::Data(0)).unwrap_or(0);
        Ok(Self {
            file,
            first: AtomicU64::new(data / ROW_BYTES),
        })
    }

    /// Reads the row at the position `sequence`. `Free` for a position after the last row.
    pub(crate) fn at(&self, sequence: u64) -> io::Result<Slot> {
        let rows = self.read_rows(sequence, sequence + 1)?;
        Ok(rows.first().copied().unwrap_or(Slot::Free))
    }

    /// Records that all positions before `first` are free, so that scans skip them, and frees their
    /// disk blocks. If the disk refuses, the file only stays larger.
    fn raise_first(&self, first: u64) {
        let previous = self.first.fetch_max(first, Ordering::SeqCst);
        let whole = |rows: u64| rows * ROW_BYTES / BLOCK * BLOCK;
        if whole(first) > whole(previous)
            && let Err(error) = files::SparseFile::punch(&self.file, 0, whole(first))
        {
            tracing::debug!(
                %error,
                "could not free disk space at the beginning of the spool's index; it stays larger"
            );
        }
    }

    /// Returns the number of positions in the index file, used or free. A row that a crash tore at
    /// the end counts as one.
    pub(crate) fn positions(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().div_ceil(ROW_BYTES))
    }

    /// Writes the row of an execution at the position `sequence`, without waiting for the disk.
    pub(crate) fn put(&self, sequence: u64, row: &Row) -> io::Result<()> {
        self.first.fetch_min(sequence, Ordering::SeqCst);
        self.file.write_all_at(&row.encode(), sequence * ROW_BYTES)
    }

    /// Overwrites the position `sequence` with zeros after a deletion or a failed acceptance,
    /// without waiting for the disk.
    pub(crate) fn clear(&self, sequence: u64) -> io::Result<()> {
        self.file
            .write_all_at(&[0; ROW_BYTES as usize], sequence * ROW_BYTES)
    }

    /// Waits until all rows written so far are on disk (fdatasync(2)).
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reads the positions from `from` to before `to`. Returns fewer if the file ends before.
    fn read_rows(&self, from: u64, to: u64) -> io::Result<Vec<Slot>> {
        let mut bytes = vec![0; ((to - from) * ROW_BYTES) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self
                .file
                .read_at(&mut bytes[filled..], from * ROW_BYTES + filled as u64)
            {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes
            .chunks_exact(ROW_BYTES as usize)
            .map(Row::decode)
            .collect())
    }

    /// Reads all positions of the index, oldest acceptance first, and calls `visit` with each
    /// position and its content. Ends when `visit` returns false.
    pub(crate) fn scan(&self, mut visit: impl FnMut(u64, Slot) -> bool) -> io::Result<()> {
        let end = self.positions()?;
        let mut from = self.first.load(Ordering::SeqCst);
        let mut only_free = true;
        while from < end {
            let to = (from + ROWS_AT_ONCE).min(end);
            for (sequence, slot) in (from..to).zip(self.read_rows(from, to)?) {
                if only_free && slot != Slot::Free {
                    only_free = false;
                    self.raise_first(sequence);
                }
                if !visit(sequence, slot) {
                    return Ok(());
                }
            }
            from = to;
        }
        if only_free {
            self.raise_first(end);
        }
        Ok(())
    }

    /// Reads the rows before the position `end`, newest acceptance first, and calls `visit` with
    /// each. Ends when `visit` returns false. Free and damaged positions are skipped.
    pub(crate) fn scan_back(&self, end: u64, mut visit: impl FnMut(Row) -> bool) -> io::Result<()> {
        let mut to = end.min(self.positions()?);
        let first = self.first.load(Ordering::SeqCst);
        while to > first {
            let from = to.saturating_sub(ROWS_AT_ONCE).max(first);
            for slot in self.read_rows(from, to)?.into_iter().rev() {
                if let Slot::Row(row) = slot
                    && !visit(row)
                {
                    return Ok(());
                }
            }
            to = from;
        }
        Ok(())
    }
}

/// The number and the sum of a set of ids. Two sets are compared by them without holding either in
/// memory. The order of the ids does not matter.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdSum {
    /// The number of ids.
    count: u64,
    /// The sum of the ids as 128-bit numbers, modulo 2^128.
    sum: u128,
}

impl IdSum {
    /// Adds an id to the set.
    pub(crate) fn add(&mut self, id: Uuid) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(id.as_u128());
    }
}

#[cfg(test)]
mod tests;
