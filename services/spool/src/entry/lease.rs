//! The lease of an entry: the right to be the only writer of its output and events.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::{Entry, Inner, Tracks};

/// The right to write an entry's output and events; at most one exists per entry. While it exists,
/// a terminal status does not end the readers, because the writer may still append.
///
/// Dropping the lease allows the next one, and writes the size of an ended entry to the index.
pub(crate) struct WriterLease {
    inner: Arc<Inner>,
}

impl Entry {
    /// Acquires the lease of this entry, and runs `prepare` to open what the new writer needs. Both
    /// happen under the lock of the open files, so no terminal status can end the readers in
    /// between.
    ///
    /// # Errors
    /// `ResourceBusy` while another lease exists, `InvalidInput` when terminal, `NotFound` once
    /// deleted, the disk's, or those of `prepare`. On an error no lease is held.
    pub(crate) fn lease<T>(
        &self,
        prepare: impl FnOnce(&Inner, &Tracks) -> io::Result<T>,
    ) -> io::Result<(WriterLease, T)> {
        self.ensure_not_deleted()?;
        let mut guard = self.lock_tracks();
        let tracks = self.load(&mut guard)?;
        if self.is_terminal() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the execution is terminal",
            ));
        }
        if self.inner.writing.load(Ordering::SeqCst) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the output has a writer",
            ));
        }
        let prepared = prepare(&self.inner, &tracks)?;
        self.inner.writing.store(true, Ordering::SeqCst);
        let lease = WriterLease {
            inner: Arc::clone(&self.inner),
        };
        Ok((lease, prepared))
    }
}

impl Drop for WriterLease {
    fn drop(&mut self) {
        self.inner.writing.store(false, Ordering::SeqCst);
        self.inner.note_size();
    }
}
