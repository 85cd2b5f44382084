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
    appender::Appender,
    error::ReadError,
    events::{EventsReader, EventsState},
    files::Store,
    index::Ended,
    marks::{MarkSlots, Marks, Which},
    patches::PatchLog,
    reader::Reader,
    record::{self, Header},
    slots::Slots,
    spool::Shared,
    track::{Shape, Track},
    writer::{EventsKept, EventsSide, Writer},
};

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
    /// There is a writer.
    pub(crate) writing: AtomicBool,
    /// The entry is a tombstone now; what is held of it is of no use.
    pub(crate) deleted: AtomicBool,
}

struct Tracks {
    output: Arc<Track>,
    events: watch::Sender<EventsState>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.spool.forget_closed(self.header.id);
    }
}

impl Entry {
    /// Opens the entry in `folder`; None where there is none.
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
        Ok(Some(Self {
            inner: Arc::new(Inner {
                header,
                spool,
                folder,
                record: Arc::new(record),
                slots: Mutex::new(slots),
                tracks: Mutex::new(None),
                writing: AtomicBool::new(false),
                deleted: AtomicBool::new(false),
            }),
        }))
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
        self.slots().terminal()
    }

    /// Writes the next status, in place, so that a full disk takes it. `durable` waits until it is on disk (a terminal one
    /// always does). After a terminal one the entry stays terminal, and its readers end where there is no writer.
    ///
    /// # Errors
    /// `InvalidInput` over [`crate::STATUS_BYTES_MAX`] bytes, `NotFound` once deleted, or the disk's; the status before
    /// stands then.
    pub fn write_status(&self, json: &[u8], durable: bool, terminal: bool) -> io::Result<()> {
        self.here()?;
        let ends = {
            let mut slots = self.slots();
            let ends = terminal && !slots.terminal();
            slots.write(&self.inner.record, json, durable || terminal, terminal)?;
            ends
        };
        if ends {
            self.end_readers();
            self.note_size();
        }
        Ok(())
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
            limits.kept_bytes,
            0,
        );
        let events = self.events_side(&tracks, kept, output.now().len)?;
        self.inner.writing.store(true, Ordering::SeqCst);
        Ok(Writer::new(self.clone(), output, events))
    }

    fn events_side(
        &self,
        tracks: &Tracks,
        kept: EventsKept,
        output_len: u64,
    ) -> io::Result<EventsSide> {
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Events)?;
        if EventsKept::from_kind(mark.kind).is_some_and(|before| before != kept) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the events are kept in another way",
            ));
        }
        let cap = self.inner.spool.limits.events_bytes;
        if EventsKept::from_kind(mark.kind).is_none() {
            slots.write(crate::marks::Mark {
                kind: kept.kind(),
                ..mark
            })?;
            let state = self.open_events(kept, mark, output_len, false)?;
            tracks.events.send_replace(state);
        }
        let state = tracks.events.borrow().clone();
        match state {
            EventsState::Raw(track) => Ok(EventsSide::Raw(Appender::new(
                track,
                slots,
                Shape::Bytes,
                cap,
                kept.kind(),
            ))),
            EventsState::InOutput(log) => Ok(EventsSide::InOutput { log, slots, cap }),
            EventsState::Unknown => Err(io::Error::other("the events have no kind")),
        }
    }

    fn open_events(
        &self,
        kept: EventsKept,
        mark: crate::marks::Mark,
        output_len: u64,
        ended: bool,
    ) -> io::Result<EventsState> {
        let store = self.open_store("events")?;
        Ok(match kept {
            EventsKept::Raw => {
                EventsState::Raw(Arc::new(Track::load(store, mark, Shape::Bytes, ended)?))
            }
            EventsKept::InOutput => EventsState::InOutput(Arc::new(PatchLog::load(
                store,
                mark.kept_from,
                output_len,
                ended,
            )?)),
        })
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

    /// How far the output goes, now and as it grows. It changes once per append. Of a terminal entry it never changes.
    ///
    /// # Errors
    /// The disk's.
    pub fn marks(&self) -> io::Result<watch::Receiver<Marks>> {
        Ok(self.tracks()?.output.marks.subscribe())
    }

    fn tracks(&self) -> io::Result<Arc<Tracks>> {
        let mut guard = self.lock_tracks();
        self.load(&mut guard)
    }

    fn load(&self, tracks: &mut Option<Arc<Tracks>>) -> io::Result<Arc<Tracks>> {
        if let Some(loaded) = tracks {
            return Ok(Arc::clone(loaded));
        }
        self.here()?;
        let terminal = self.is_terminal();
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Output)?;
        let output = Track::load(self.open_store("output")?, mark, Shape::Text, terminal)?;
        let marks = output.now();
        let found = crate::marks::Mark {
            kept_from: marks.kept_from,
            len: marks.len,
            crc32: marks.crc32,
            ended: marks.ended,
            kind: 0,
        };
        if found != mark {
            // Only saves the next one the reading.
            let _ = slots.write(found);
        }
        let (_, mark) = MarkSlots::load(Arc::clone(&self.inner.record), Which::Events)?;
        let events = match EventsKept::from_kind(mark.kind) {
            Some(kept) => self.open_events(kept, mark, marks.len, marks.ended)?,
            None => EventsState::Unknown,
        };
        let loaded = Arc::new(Tracks {
            output: Arc::new(output),
            events: watch::Sender::new(events),
        });
        *tracks = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// A terminal status without a writer is the end of the output: queued ones that were cancelled, interrupted ones.
    fn end_readers(&self) {
        let guard = self.lock_tracks();
        if self.inner.writing.load(Ordering::SeqCst) {
            return;
        }
        let Some(tracks) = &*guard else { return };
        let end = |marks: &mut Marks| {
            marks.ended = true;
            marks.aborted = false;
        };
        if let EventsState::Raw(track) = &*tracks.events.borrow() {
            track.marks.send_modify(end);
        }
        tracks.output.marks.send_modify(end);
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

    fn open_store(&self, name: &str) -> io::Result<Box<dyn Store>> {
        Ok(Box::new(
            File::options()
                .read(true)
                .write(true)
                .open(self.inner.folder.join(name))?,
        ))
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

    fn lock_tracks(&self) -> MutexGuard<'_, Option<Arc<Tracks>>> {
        self.inner
            .tracks
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
