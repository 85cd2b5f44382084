//! One execution on disk.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    appender::{Appender, Cap},
    error::ReadError,
    events::{EventsExtent, EventsReader},
    index::Ended,
    marks::{MarkSlots, Marks, Which},
    reader::Reader,
    record::{self, Header},
    slots::Slots,
    spool::Shared,
    track::Shape,
    writer::{EventsKept, Writer},
};

mod cancel;
mod tracks;

use tracks::Tracks;

/// One execution's record, output and events. Cheap to clone; two files are open once output or events are looked at,
/// one before.
#[derive(Clone)]
pub struct Entry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) header: Header,
    pub(crate) spool: Arc<Shared>,
    folder: PathBuf,
    record: Arc<File>,
    /// Which slot is next; held over the write so that two writers take turns. Never across an await.
    slots: Mutex<Slots>,
    /// Loaded when first needed. Also orders making a writer against the terminal status. Never across an await.
    tracks: Mutex<Option<Arc<Tracks>>>,
    /// Whether a terminal status was written. Not in `slots`, whose lock is held while the disk
    /// syncs: async code reads this, too.
    terminal: AtomicBool,
    /// There is a writer.
    pub(crate) writing: AtomicBool,
    /// The entry is a tombstone now; what is held of it is of no use.
    pub(crate) deleted: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.spool.forget_closed(self.header.id);
    }
}

impl Entry {
    /// Opens the entry in `folder`; None when there is none. An entry without a terminal status is
    /// damaged if the index says that it ended.
    pub(crate) fn open(spool: Arc<Shared>, folder: PathBuf) -> io::Result<Option<Self>> {
        let record = match File::options()
            .read(true)
            .write(true)
            .open(folder.join("record"))
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = Header::read(&record)?;
        let slots = Slots::load(&record)?;
        if !slots.terminal() && spool.is_ended_in_index(&header)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the terminal status is damaged",
            ));
        }
        Ok(Some(Self::new(spool, folder, header, record, slots)))
    }

    /// The entry in `folder`, whose record is open for reading and writing.
    pub(crate) fn new(
        spool: Arc<Shared>,
        folder: PathBuf,
        header: Header,
        record: File,
        slots: Slots,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                header,
                spool,
                folder,
                record: Arc::new(record),
                terminal: AtomicBool::new(slots.terminal()),
                slots: Mutex::new(slots),
                tracks: Mutex::new(None),
                writing: AtomicBool::new(false),
                deleted: AtomicBool::new(false),
            }),
        }
    }

    /// The execution's id.
    pub fn id(&self) -> Uuid {
        self.inner.header.id
    }

    /// The digest of the body that it was accepted with.
    pub fn body_digest(&self) -> [u8; 32] {
        self.inner.header.digest
    }

    /// The body that it was accepted with.
    ///
    /// # Errors
    /// The disk's, `InvalidData` when what is there is damaged, `NotFound` once deleted.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        self.here()?;
        record::read_body(&self.inner.record, &self.inner.header)
    }

    /// The newest status.
    ///
    /// # Errors
    /// As [`Entry::body`].
    pub fn status(&self) -> io::Result<Vec<u8>> {
        self.here()?;
        self.slots().read(&self.inner.record)
    }

    /// Whether a terminal status was written.
    pub fn is_terminal(&self) -> bool {
        self.inner.terminal.load(Ordering::SeqCst)
    }

    /// Returns the time of acceptance by the file system, for an entry with damaged statuses.
    pub fn file_time(&self) -> Option<SystemTime> {
        let metadata = self.inner.record.metadata().ok()?;
        metadata.created().or_else(|_| metadata.modified()).ok()
    }

    /// Writes the next status of an execution that has not ended, in place, so that a full disk
    /// takes it. `durable` waits until it is on disk. [`crate::Spool::end`] writes a terminal
    /// status.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes or after the end, `NotFound` once
    /// deleted, or the disk's; the status before stands then.
    pub fn write_status(&self, json: &[u8], durable: bool) -> io::Result<()> {
        self.here()?;
        let mut slots = self.slots();
        if slots.terminal() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the execution has ended",
            ));
        }
        slots.write(&self.inner.record, json, durable, false)
    }

    /// Writes a terminal status durably, and returns whether the entry had none. A terminal status
    /// that stands is replaced only if `replaces` says so.
    pub(crate) fn write_end(&self, json: &[u8], replaces: bool) -> io::Result<bool> {
        self.here()?;
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

    /// The one writer. After a crash it goes on behind what readers have seen. `kept` stays what it was first.
    ///
    /// # Errors
    /// `ResourceBusy` while there is another, `InvalidInput` when terminal or when the events are kept otherwise,
    /// `NotFound` once deleted, or the disk's.
    pub fn writer(&self, kept: EventsKept) -> io::Result<Writer> {
        self.here()?;
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
        let (slots, _) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Output)?;
        let limits = &self.inner.spool.limits;
        let output = Appender::new(
            Arc::clone(&tracks.output),
            slots,
            Shape::Text,
            Cap {
                bytes: limits.kept_bytes,
                lines: limits.kept_lines,
            },
            0,
        );
        let events = self.events_side(&tracks, kept, output.now().len)?;
        self.inner.writing.store(true, Ordering::SeqCst);
        Ok(Writer::new(self.clone(), output, events))
    }

    /// Reads the output from `offset`. The first look at an entry after a start may read up to 64 MiB of it.
    ///
    /// # Errors
    /// `Beyond`, `NotKept`, or the disk's.
    pub fn reader(&self, offset: u64) -> Result<Reader, ReadError> {
        Reader::new(Arc::clone(&self.tracks()?.output), offset)
    }

    /// Reads the CLI's stdout byte for byte, from the oldest kept byte on.
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

    /// Reads the CLI's stdout byte for byte from `offset`, or from the oldest kept byte, and says
    /// how far it goes now. Where the output holds the events, this reads all patches.
    ///
    /// # Errors
    /// `Beyond`, `NotKept`, or the disk's.
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

    /// How far the output goes, now and as it grows. It changes once per append. Of a terminal entry it never changes.
    ///
    /// # Errors
    /// The disk's.
    pub fn marks(&self) -> io::Result<watch::Receiver<Marks>> {
        Ok(self.tracks()?.output.marks.subscribe())
    }

    /// How far the output goes now, without a wait for the disk: none while its files are not open, or are being opened.
    #[must_use]
    pub fn known_marks(&self) -> Option<Marks> {
        let tracks = self.inner.tracks.try_lock().ok()?;
        let marks = *tracks.as_ref()?.output.marks.borrow();
        Some(marks)
    }

    /// Holds the lock as whoever opens the files does.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> impl Sized {
        self.lock_tracks()
    }

    /// Tells the index the end and the size, for retention.
    pub(crate) fn note_size(&self) {
        if self.is_terminal() && !self.inner.deleted.load(Ordering::SeqCst) {
            let at_ms = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_millis() as u64);
            let ended = Ended {
                at_ms,
                bytes: disk_bytes(&self.inner.folder),
            };
            self.inner.spool.note_end(&self.inner.header, ended);
        }
    }

    fn here(&self) -> io::Result<()> {
        if self.inner.deleted.load(Ordering::SeqCst) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the execution was deleted",
            ));
        }
        Ok(())
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // A panic while it was held leaves numbers that are still true: they change after the write.
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the files in a folder take on disk, in bytes.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    ["record", "output", "events"]
        .iter()
        .filter_map(|name| folder.join(name).metadata().ok())
        .map(|file| file.blocks() * 512)
        .sum()
}
