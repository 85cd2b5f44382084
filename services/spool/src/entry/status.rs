//! Reading and writing the status of an execution. The status is always read from disk, and
//! overwritten in place, so a write needs no free space.

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
    /// `InvalidData` if the status is damaged, `NotFound` if the execution was deleted, or the
    /// error of the operating system.
    pub fn status(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        self.slots().read(&self.inner.record)
    }

    /// Replaces the status of an execution that has not ended by `json`. Works on a full disk,
    /// because the status is overwritten in place. With `durable`, waits until the status is on
    /// disk; without it, a power cut may bring back an earlier status. [`crate::Spool::end`] writes
    /// the terminal status.
    ///
    /// # Errors
    /// `InvalidInput` if `json` is longer than [`crate::STATUS_BYTES_MAX`] or the execution has
    /// ended, `NotFound` if it was deleted, or the error of the operating system. On an error the
    /// previous status stays.
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

    /// Writes a terminal (final) status, and waits until it is on disk. Returns true if the
    /// execution had no terminal status before. If it had one, returns false, and writes only with
    /// `replaces`.
    ///
    /// # Errors
    /// The same errors as [`Entry::write_status`], except that an ended execution is no error.
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

    /// Locks the list that says which status is in which slot. Blocks while another status is
    /// written.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        // A panic under the lock leaves correct numbers: they change only after the write.
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
