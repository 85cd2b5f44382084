//! The status of an entry: written in place, read from disk.

use std::{
    io,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use super::Entry;
use crate::slots::Slots;

impl Entry {
    /// The newest status.
    ///
    /// # Errors
    /// As [`Entry::body`].
    pub fn status(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        self.slots().read(&self.inner.record)
    }

    /// Writes the next status, in place, so that a full disk takes it. `durable` waits until it is
    /// on disk (a terminal one always does). After a terminal one the entry stays terminal, and its
    /// readers end where there is no writer.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes, `NotFound` once deleted, or the
    /// disk's; the status before stands then.
    pub fn write_status(&self, json: &[u8], durable: bool, terminal: bool) -> io::Result<()> {
        self.ensure_not_deleted()?;
        let ends = {
            let mut slots = self.slots();
            let ends = terminal && !slots.terminal();
            slots.write(&self.inner.record, json, durable || terminal, terminal)?;
            if terminal {
                self.inner.terminal.store(true, Ordering::SeqCst);
            }
            ends
        };
        if ends {
            self.end_readers();
            self.note_size();
        }
        Ok(())
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // A panic while it was held leaves numbers that are still true: they change after the
        // write.
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
