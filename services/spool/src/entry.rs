//! One execution on disk: its record (body, status, marks), its output and its events.

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
    index::Ended,
    limits::SpoolLimits,
    open_table::OpenTable,
    record::{self, Header},
    slots::Slots,
    store::Store,
};

mod cancel;
mod lease;
mod reading;
mod status;
mod tracks;

pub(crate) use lease::WriterLease;
pub(crate) use tracks::Tracks;

/// One execution on disk, for reading its body, status, output and events and for writing them.
/// Cheap to clone; all clones share the open files. Only the record is open at first: the first
/// read opens the output, and the events file once it is known how the events are kept.
#[derive(Clone)]
pub struct Entry {
    inner: Arc<Inner>,
}

/// The table of the entries in use: two lookups of the same id get the same shared value.
pub(crate) type OpenEntries = OpenTable<Inner>;

/// The state that all clones of an [`Entry`] share.
pub(crate) struct Inner {
    header: Header,
    store: Arc<Store>,
    /// The table that lists this entry while it is in use.
    open: Arc<OpenEntries>,
    pub(crate) folder: PathBuf,
    pub(crate) record: Arc<File>,
    /// The version numbers of the three status slots in the record. A lock, held during a write so
    /// that two writers take turns; never across an await.
    slots: Mutex<Slots>,
    /// The open output and events, opened when first needed. The lock also orders the creation of a
    /// writer against the terminal status; never held across an await.
    tracks: Mutex<Option<Arc<Tracks>>>,
    /// Whether a terminal (final) status was written. Separate from `slots`, whose lock is held
    /// while the disk syncs: async code reads this flag too.
    terminal: AtomicBool,
    /// Whether a writer of the output and events exists now.
    writing: AtomicBool,
    /// Whether the entry was deleted; calls on this value then fail with `NotFound`.
    deleted: AtomicBool,
}

impl Inner {
    /// Returns the size and age limits of the spool that holds this entry.
    pub(crate) fn limits(&self) -> &SpoolLimits {
        &self.store.limits
    }

    /// Writes the time of the end and the size on disk to the index, where retention (deletion by
    /// age and size) finds them. Does nothing for a live or deleted entry.
    fn note_size(&self) {
        if self.terminal.load(Ordering::SeqCst) && !self.deleted.load(Ordering::SeqCst) {
            let at_ms = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_millis() as u64);
            let ended = Ended {
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
    /// Opens the entry with this id from disk; None if no record exists.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if the record is damaged. An entry without a terminal
    /// status counts as damaged if the index says that the execution ended. Otherwise the disk's
    /// error.
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

    /// Creates the entry for the execution in `folder`, whose `record` is already open for reading
    /// and writing. Touches no file.
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

    /// Returns the shared entry with this id if it is in use; None if the caller must open it from
    /// disk.
    pub(crate) fn held(open: &OpenEntries, id: Uuid) -> Option<Self> {
        open.get(id).map(|inner| Self { inner })
    }

    /// Returns the entry that all users of this id share: the one already in use, else this one.
    pub(crate) fn shared(self) -> Self {
        let inner = self.inner.open.share(self.id(), &self.inner);
        Self { inner }
    }

    /// Marks the entry as deleted: later calls on any clone fail with `NotFound`.
    pub(crate) fn set_deleted(&self) {
        self.inner.deleted.store(true, Ordering::SeqCst);
    }

    /// Returns the facts of the entry that never change, as read from its record.
    pub(crate) fn header(&self) -> &Header {
        &self.inner.header
    }

    /// Returns the execution's id.
    pub fn id(&self) -> Uuid {
        self.inner.header.id
    }

    /// Returns the digest of the body that the execution was accepted with. The service compares it
    /// to recognise a repeated request.
    pub fn body_digest(&self) -> [u8; 32] {
        self.inner.header.digest
    }

    /// Returns when the record file was created, or last modified if the file system stores no
    /// creation time. Stands in for the time of acceptance if the statuses are damaged; None if
    /// unknown.
    pub fn file_time(&self) -> Option<SystemTime> {
        let metadata = self.inner.record.metadata().ok()?;
        metadata.created().or_else(|_| metadata.modified()).ok()
    }

    /// Reads the body (the client's prompt and settings) that the execution was accepted with.
    ///
    /// # Errors
    /// The disk's, `InvalidData` if the body is damaged, `NotFound` once deleted.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        record::read_body(&self.inner.record, &self.inner.header)
    }

    /// Whether a terminal (final) status was written. Never touches the disk.
    pub fn is_terminal(&self) -> bool {
        self.inner.terminal.load(Ordering::SeqCst)
    }

    /// Writes the time of the end and the size on disk to the index, where retention (deletion by
    /// age and size) finds them. Does nothing for a live or deleted entry.
    pub(crate) fn note_size(&self) {
        self.inner.note_size();
    }

    /// Whether both are the same shared entry.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

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
