//! One execution on disk.

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

/// One execution's record, output and events. Cheap to clone. At first only `record` is open. The
/// first read opens `output`, and `events` once their storage kind is known.
#[derive(Clone)]
pub struct Entry {
    inner: Arc<Inner>,
}

/// The entries that are in use, so that all users of an id share one value.
pub(crate) type OpenEntries = OpenTable<Inner>;

pub(crate) struct Inner {
    header: Header,
    store: Arc<Store>,
    /// The table that lists this entry while it is in use.
    open: Arc<OpenEntries>,
    pub(crate) folder: PathBuf,
    pub(crate) record: Arc<File>,
    /// The numbers of the status slots. A lock, held during a write so that two writers take turns;
    /// never across an await.
    slots: Mutex<Slots>,
    /// The open files, loaded when first needed. The lock also orders the creation of a writer
    /// against the terminal status; never held across an await.
    tracks: Mutex<Option<Arc<Tracks>>>,
    /// Whether a terminal status was written. Separate from `slots`, whose lock is held while the
    /// disk syncs: async code reads this flag too.
    terminal: AtomicBool,
    /// Whether a writer's lease exists.
    writing: AtomicBool,
    /// Whether the entry was deleted; calls on this value then fail with `NotFound`.
    deleted: AtomicBool,
}

impl Inner {
    /// The limits of the spool.
    pub(crate) fn limits(&self) -> &SpoolLimits {
        &self.store.limits
    }

    /// Writes the end and the size to the index, for retention.
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
    /// Opens the entry with this id; None if none exists. An entry without a terminal status is
    /// damaged if the index says that the execution ended.
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

    /// Creates the entry in `folder`, whose record is open for reading and writing.
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

    /// Returns the entry with this id, if it is in use.
    pub(crate) fn held(open: &OpenEntries, id: Uuid) -> Option<Self> {
        open.get(id).map(|inner| Self { inner })
    }

    /// Returns the entry that all users share: this one, if it is the first.
    pub(crate) fn shared(self) -> Self {
        let inner = self.inner.open.share(self.id(), &self.inner);
        Self { inner }
    }

    /// Marks the entry as deleted.
    pub(crate) fn set_deleted(&self) {
        self.inner.deleted.store(true, Ordering::SeqCst);
    }

    /// The fixed facts of the entry.
    pub(crate) fn header(&self) -> &Header {
        &self.inner.header
    }

    /// The execution's id.
    pub fn id(&self) -> Uuid {
        self.inner.header.id
    }

    /// The digest of the body that the execution was accepted with.
    pub fn body_digest(&self) -> [u8; 32] {
        self.inner.header.digest
    }

    /// Returns the time of acceptance according to the file system, for an entry with damaged
    /// statuses.
    pub fn file_time(&self) -> Option<SystemTime> {
        let metadata = self.inner.record.metadata().ok()?;
        metadata.created().or_else(|_| metadata.modified()).ok()
    }

    /// Reads the body that the execution was accepted with.
    ///
    /// # Errors
    /// The disk's, `InvalidData` if the body is damaged, `NotFound` once deleted.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        record::read_body(&self.inner.record, &self.inner.header)
    }

    /// Whether a terminal status was written.
    pub fn is_terminal(&self) -> bool {
        self.inner.terminal.load(Ordering::SeqCst)
    }

    /// Writes the end and the size to the index, for retention.
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
