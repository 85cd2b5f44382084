//! The lease of the one writer of an entry.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::{Entry, Inner, Tracks};

/// The right to write an entry's output and events. An entry gives out one at a time. While it
/// exists, a terminal status does not end the readers.
///
/// Dropped, it lets the entry give out the next one, and notes the size of an ended entry in the
/// index.
pub(crate) struct WriterLease {
    inner: Arc<Inner>,
}

impl Entry {
    /// Gives out the lease, with what `prepare` makes of the entry's files. No terminal status can
    /// end the readers in between: `prepare` runs under the lock of the files.
    ///
    /// # Errors
    /// `ResourceBusy` while another lease exists, `InvalidInput` when terminal, `NotFound` once
    /// deleted, the disk's, or those of `prepare`.
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
