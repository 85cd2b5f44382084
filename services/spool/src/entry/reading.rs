//! Reading an entry's output and events. Their files are opened by the first call that needs them.

use std::{
    io,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
};

use tokio::sync::watch;

use super::{Entry, Inner, Tracks};
use crate::{
    error::ReadError,
    events::{EventsExtent, EventsReader},
    marks::Marks,
    reader::Reader,
};

impl Entry {
    /// Returns a reader of the output that begins at the byte `offset`. The first access to an
    /// entry after a start of the service may read up to 64 MiB of output to verify it.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the end, `NotKept` if the bytes at `offset` were freed, or the
    /// disk's.
    pub fn reader(&self, offset: u64) -> Result<Reader, ReadError> {
        Reader::new(Arc::clone(&self.tracks()?.output), offset)
    }

    /// Returns a reader of the events, which are the CLI's exact stdout, from the oldest kept byte.
    ///
    /// # Errors
    /// The disk's.
    pub fn events_reader(&self) -> Result<EventsReader, ReadError> {
        let tracks = self.tracks()?;
        Ok(EventsReader::new(
            Arc::clone(&tracks.output),
            tracks.events.subscribe(),
        ))
    }

    /// Returns a reader of the events (the CLI's exact stdout) from `offset`, and the present
    /// extent of the events. None begins at the oldest kept byte. If the events are rebuilt from
    /// the output, this reads all patches first.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the end, `NotKept` if the bytes at `offset` were freed, or the
    /// disk's.
    pub fn events_from(
        &self,
        offset: Option<u64>,
    ) -> Result<(EventsReader, EventsExtent), ReadError> {
        let tracks = self.tracks()?;
        EventsReader::starting_at(
            offset,
            Arc::clone(&tracks.output),
            tracks.events.subscribe(),
        )
    }

    /// Returns a channel with the present length, oldest kept offset and checksum of the output.
    /// Its value changes once per append, and never for a terminal entry.
    ///
    /// # Errors
    /// The disk's, while the files are opened.
    pub fn marks(&self) -> io::Result<watch::Receiver<Marks>> {
        Ok(self.tracks()?.output.marks.subscribe())
    }

    /// Returns the present extent of the output without waiting for the disk, for async callers.
    /// None while the files are closed or being opened.
    #[must_use]
    pub fn cached_marks(&self) -> Option<Marks> {
        let tracks = self.inner.tracks.try_lock().ok()?;
        let marks = *tracks.as_ref()?.output.marks.borrow();
        Some(marks)
    }

    /// Holds the lock under which the files are opened.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> impl Sized {
        self.lock_tracks()
    }

    /// Returns the open output and events, and opens them if needed.
    fn tracks(&self) -> io::Result<Arc<Tracks>> {
        let mut guard = self.lock_tracks();
        self.load(&mut guard)
    }

    pub(super) fn load(&self, tracks: &mut Option<Arc<Tracks>>) -> io::Result<Arc<Tracks>> {
        if let Some(loaded) = tracks {
            return Ok(Arc::clone(loaded));
        }
        self.ensure_not_deleted()?;
        let Inner { folder, record, .. } = &*self.inner;
        let loaded = Arc::new(Tracks::load(folder, record, self.is_terminal())?);
        *tracks = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Ends the readers when a terminal status is written and no writer exists to do it: for
    /// executions that were interrupted, or cancelled in the queue.
    pub(super) fn end_readers(&self) {
        let guard = self.lock_tracks();
        if self.inner.writing.load(Ordering::SeqCst) {
            return;
        }
        if let Some(tracks) = &*guard {
            tracks.end();
        }
    }

    pub(super) fn lock_tracks(&self) -> MutexGuard<'_, Option<Arc<Tracks>>> {
        self.inner
            .tracks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
