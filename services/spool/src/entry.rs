//! One execution on disk: its record file (request body, statuses, checkpoints), its output and its
//! raw events (the exact stdout of the CLI).

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use crate::{
    folder::{disk_bytes, record_path},
    index::EndFacts,
    limits::SpoolLimits,
    open_table::OpenTable,
    record::{self, Header},
    slots::Slots,
    store::Store,
};

mod access;
mod cancel;
mod lease;
mod questions;
mod reading;
mod status;
mod tracks;

pub(crate) use lease::WriterLease;
pub(crate) use tracks::Tracks;

/// One execution on disk. Reads its request body, status, output and raw events, and writes them.
/// Cheap to clone; all clones share the open files. Only the record file is open at first. The
/// first call that reads output opens the output file, and the events file if the execution had a
/// writer.
#[derive(Clone)]
pub struct Entry {
    /// The state that all clones share.
    inner: Arc<Inner>,
}

/// The table of the executions in use, by id. Two lookups of the same id get the same shared value,
/// so that there is one set of open files and one writer.
pub(crate) type OpenEntries = OpenTable<Inner>;

/// The state of one execution on disk that all clones of an [`Entry`] share.
pub(crate) struct Inner {
    /// The facts that never change: id, owner, position in the index, and digest of the body.
    header: Header,
    /// The folder, index and limits of the spool that holds this execution.
    store: Arc<Store>,
    /// The table that lists this execution while it is in use.
    open: Arc<OpenEntries>,
    /// The folder with the three files of the execution: record, output and events.
    pub(crate) folder: PathBuf,
    /// The open record file: header, checkpoints, cancel notes, statuses and request body.
    pub(crate) record: Arc<File>,
    /// Which status is in which of the three status slots of the record. A lock, held during a
    /// write so that two writers take turns; never across an await.
    slots: Mutex<Slots>,
    /// The open output and events; `None` until they are first needed. The lock also orders the
    /// creation of a writer against the terminal status; never held across an await.
    tracks: Mutex<Option<Arc<Tracks>>>,
    /// Whether a terminal (final) status was written. Separate from `slots`, because async code
    /// reads this flag, and the lock of `slots` is held while the disk syncs.
    terminal: AtomicBool,
    /// Whether a writer of the output and events exists now. At most one may exist.
    writing: AtomicBool,
    /// Whether the execution was deleted. Calls on this value then fail with `NotFound`.
    deleted: AtomicBool,
}

impl Inner {
    /// Returns the configured limits of the spool that holds this execution.
    pub(crate) fn limits(&self) -> &SpoolLimits {
        &self.store.limits
    }

    /// Writes the time of the end and the size on disk to the execution's row in the index, where
    /// deletion by age and size reads them. Does nothing for an execution that has not ended or was
    /// deleted.
    fn note_size(&self) {
        if self.terminal.load(Ordering::SeqCst) && !self.deleted.load(Ordering::SeqCst) {
            let at_ms = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_millis() as u64);
            let ended = EndFacts {
                at_ms,
                bytes: disk_bytes(&self.folder),
            };
            self.store.note_end(&self.header, ended);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.open.forget_closed(self.header.id);
    }
}

impl Entry {
    /// Opens the execution `id` from disk. `None` if it has no record file.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if the record is damaged, or the error of the operating
    /// system. A record without a terminal status also counts as damaged if the index says that the
    /// execution ended.
    pub(crate) fn open(
        store: Arc<Store>,
        open: Arc<OpenEntries>,
        id: Uuid,
    ) -> io::Result<Option<Self>> {
        let folder = store.folder(id);
        let record = match File::options()
            .read(true)
            .write(true)
            .open(record_path(&folder))
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = Header::read(&record)?;
        let slots = Slots::load(&record)?;
        if !slots.terminal() && store.is_ended_in_index(&header)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the terminal status is damaged",
            ));
        }
        Ok(Some(Self::new(store, open, folder, header, record, slots)))
    }

    /// Creates the entry of the execution in `folder`, whose `record` file is already open for
    /// reading and writing. Reads and writes no file.
    pub(crate) fn new(
        store: Arc<Store>,
        open: Arc<OpenEntries>,
        folder: PathBuf,
        header: Header,
        record: File,
        slots: Slots,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                header,
                store,
                open,
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

    /// Returns the shared entry of the execution `id` if it is in use. `None` means that the caller
    /// must open it from disk.
    pub(crate) fn held(open: &OpenEntries, id: Uuid) -> Option<Self> {
        open.get(id).map(|inner| Self { inner })
    }

    /// Returns the entry that all users of this execution share. If another caller uses it already,
    /// this is that caller's entry; otherwise it is `self`, which later callers then get.
    pub(crate) fn shared(self) -> Self {
        let inner = self.inner.open.share(self.id(), &self.inner);
        Self { inner }
    }

    /// Marks the execution as deleted. Later calls on any clone fail with `NotFound`.
    pub(crate) fn set_deleted(&self) {
        self.inner.deleted.store(true, Ordering::SeqCst);
    }

    /// Returns the facts of the execution that never change, as read from its record file.
    pub(crate) fn header(&self) -> &Header {
        &self.inner.header
    }

    /// Returns the id of the execution, which its client chose.
    pub fn id(&self) -> Uuid {
        self.inner.header.id
    }

    /// Returns the digest of the request body with which the execution was accepted. The service
    /// compares it with the digest of a new request to recognise a repeated one. All zeros if the
    /// body was damaged.
    pub fn body_digest(&self) -> [u8; 32] {
        self.inner.header.digest
    }

    /// Returns when the record file was created, or last modified if the file system stores no
    /// creation time. Used as the time of acceptance if the statuses are damaged. `None` if the
    /// file cannot be read.
    pub fn file_time(&self) -> Option<SystemTime> {
        let metadata = self.inner.record.metadata().ok()?;
        metadata.created().or_else(|_| metadata.modified()).ok()
    }

    /// Reads the request body (the client's prompt and settings) with which the execution was
    /// accepted.
    ///
    /// # Errors
    /// `InvalidData` if the body is damaged, `NotFound` if the execution was deleted, or the error
    /// of the operating system.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        record::read_body(&self.inner.record, &self.inner.header)
    }

    /// Whether the execution has ended, which means that a terminal (final) status was written.
    /// Never touches the disk.
    pub fn is_terminal(&self) -> bool {
        self.inner.terminal.load(Ordering::SeqCst)
    }

    /// Writes the time of the end and the size on disk to the execution's row in the index, where
    /// deletion by age and size reads them. Does nothing for an execution that has not ended or was
    /// deleted.
    pub(crate) fn note_size(&self) {
        self.inner.note_size();
    }

    /// Whether both are the same shared entry.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Fails with `NotFound` if the execution was deleted.
    fn ensure_not_deleted(&self) -> io::Result<()> {
        if self.inner.deleted.load(Ordering::SeqCst) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the execution was deleted",
            ));
        }
        Ok(())
    }
}
