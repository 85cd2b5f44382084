//! The status of an entry: written in place, and always read from disk.

use std::{
    io,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use super::Entry;
use crate::slots::Slots;

impl Entry {
    /// Reads the newest status.
    ///
    /// # Errors
    /// As [`Entry::body`].
    pub fn status(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        self.slots().read(&self.inner.record)
    }

    /// Writes the next status of an execution that has not ended. The write is in place, so it
    /// works on a full disk. With `durable`, waits until the status is on disk.
    /// [`crate::Spool::end`] writes a terminal status.
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

    /// Writes a terminal status durably, and returns whether the entry had none before. `replaces`
    /// allows replacing an existing terminal status.
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
