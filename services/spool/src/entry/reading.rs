//! Reading the output and raw events of an execution. Their files are opened by the first call that
//! needs them.

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
    /// Returns a reader of the execution's output that begins at the byte `offset`. The first
    /// access after a start of the service may read up to 64 MiB of output to restore its checksum.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the end, `NotKept` if the bytes at `offset` are no longer on
    /// disk, or `Io` if the files cannot be opened.
    pub fn reader(&self, offset: u64) -> Result<Reader, ReadError> {
        Reader::new(Arc::clone(&self.tracks()?.output), offset)
    }

    /// Returns a reader of the execution's raw events (the exact stdout of the CLI), beginning at
    /// the oldest byte on disk.
    ///
    /// # Errors
    /// `Io` if the files cannot be opened.
    pub fn events_reader(&self) -> Result<EventsReader, ReadError> {
        let tracks = self.tracks()?;
        Ok(EventsReader::new(
            Arc::clone(&tracks.output),
            tracks.events.subscribe(),
        ))
    }

    /// Returns a reader of the execution's raw events (the exact stdout of the CLI) that begins at
    /// `offset`, and the range of events that exists now. `None` begins at the oldest byte on disk.
    /// If the events are rebuilt from the output, this first reads all patches, the list of
    /// differences.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the end, `NotKept` if the bytes at `offset` are no longer on
    /// disk, or `Io` if the disk cannot be read.
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

    /// Returns a channel with the present length, oldest stored offset and checksum of the output.
    /// Its value changes once per append, and never again once the execution has ended.
    ///
    /// # Errors
    /// The error of the operating system if the files cannot be opened.
    pub fn marks(&self) -> io::Result<watch::Receiver<Marks>> {
        Ok(self.tracks()?.output.marks.subscribe())
    }

    /// Returns the present length, oldest stored offset and checksum of the output, without waiting
    /// for the disk, for async callers. `None` while the output file is closed or being opened.
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

    /// Returns the open output and events files, and opens them if needed.
    fn tracks(&self) -> io::Result<Arc<Tracks>> {
        let mut guard = self.lock_tracks();
        self.load(&mut guard)
    }

    /// Returns the open output and events files, and opens them into `tracks` if it is `None`. The
    /// caller holds the lock of `tracks`.
    ///
    /// # Errors
    /// `NotFound` if the execution was deleted, or the error of the operating system.
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

    /// Ends the readers of the output after a terminal status, if no writer exists to do it. This
    /// happens for executions that were interrupted, or cancelled while queued.
    pub(super) fn end_readers(&self) {
        let guard = self.lock_tracks();
        if self.inner.writing.load(Ordering::SeqCst) {
            return;
        }
        if let Some(tracks) = &*guard {
            tracks.end();
        }
    }

    /// Locks the open output and events files. Blocks while another thread opens them or creates a
    /// writer.
    pub(super) fn lock_tracks(&self) -> MutexGuard<'_, Option<Arc<Tracks>>> {
        self.inner
            .tracks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
