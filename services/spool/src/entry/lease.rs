//! The lease of an execution: the right to be the only writer of its output and raw events.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::{Entry, Inner, Tracks};

/// The right to write the output and raw events of an execution. At most one exists per execution.
/// While it exists, a terminal status does not end the readers, because the writer may still
/// append.
///
/// Dropping the lease allows another writer. If the execution has ended, its size is written to the
/// index.
pub(crate) struct WriterLease {
    /// The execution whose writer this is.
    inner: Arc<Inner>,
}

impl Entry {
    /// Makes the caller the only writer of this execution, and runs `prepare` to open what the
    /// writer needs. Both happen under the lock of the open files, so no terminal status can end
    /// the readers in between.
    ///
    /// # Errors
    /// On an error the caller is not the writer.
    /// - `ResourceBusy` if another writer exists.
    /// - `InvalidInput` if the execution has ended.
    /// - `NotFound` if it was deleted.
    /// - The error of the operating system, or an error of `prepare`.
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
