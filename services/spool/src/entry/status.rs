//! Reading and writing the status of an entry. The status is always read from disk, and overwritten
//! in place, so a write needs no free space.

use std::{
    io,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use super::Entry;
use crate::slots::Slots;

impl Entry {
    /// Reads the newest status of the execution, as the JSON bytes that were written.
    ///
    /// # Errors
    /// The disk's, `InvalidData` if the status is damaged, `NotFound` once deleted.
    pub fn status(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        self.slots().read(&self.inner.record)
    }

    /// Replaces the status of an execution that has not ended. Works on a full disk. With
    /// `durable`, waits until the status is on disk; without, a power cut may restore an earlier
    /// one. [`crate::Spool::end`] writes the terminal status.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes or after the end, `NotFound` once
    /// deleted, or the disk's. On an error the previous status stays.
    pub fn write_status(&self, json: &[u8], durable: bool) -> io::Result<()> {
        self.ensure_not_deleted()?;
        let mut slots = self.slots();
        if slots.terminal() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the execution has ended",
            ));
        }
        slots.write(&self.inner.record, json, durable, false)
    }

    /// Writes a terminal (final) status, and waits until it is on disk. Returns whether the entry
    /// had none before. If it had one, nothing is written unless `replaces` is set.
    pub(crate) fn write_end(&self, json: &[u8], replaces: bool) -> io::Result<bool> {
        self.ensure_not_deleted()?;
        let first = {
            let mut slots = self.slots();
            let first = !slots.terminal();
            if !first && !replaces {
                return Ok(false);
            }
            slots.write(&self.inner.record, json, true, true)?;
            self.inner.terminal.store(true, Ordering::SeqCst);
            first
        };
        if first {
            self.end_readers();
            self.note_size();
        }
        Ok(first)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // A panic under the lock leaves correct numbers: they change only after the write.
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
