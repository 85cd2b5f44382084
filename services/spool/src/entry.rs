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

/// One execution's record, output and events. Cheap to clone. At first only `record` is open;
/// reading opens `output`, and `events` once it is known how they are kept.
#[derive(Clone)]
pub struct Entry {
    inner: Arc<Inner>,
}

/// The entries that somebody holds, so that all hold the same.
pub(crate) type OpenEntries = OpenTable<Inner>;

pub(crate) struct Inner {
    header: Header,
    store: Arc<Store>,
    /// The table that this entry is in while somebody holds it.
    open: Arc<OpenEntries>,
    pub(crate) folder: PathBuf,
    pub(crate) record: Arc<File>,
    /// Which slot is next; held over the write so that two writers take turns. Never across an
    /// await.
    slots: Mutex<Slots>,
    /// Loaded when first needed. Also orders making a writer against the terminal status. Never
    /// across an await.
    tracks: Mutex<Option<Arc<Tracks>>>,
    /// Whether a terminal status was written. Not in `slots`, whose lock is held while the disk
    /// syncs: async code reads this, too.
    terminal: AtomicBool,
    /// A writer's lease exists.
    writing: AtomicBool,
    /// The entry is a tombstone now; what is held of it is of no use.
    deleted: AtomicBool,
}

impl Inner {
    /// The limits of the spool.
    pub(crate) fn limits(&self) -> &SpoolLimits {
        &self.store.limits
    }

    /// Notes the end and the size in the index, for retention.
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
    /// Opens the entry with this id; None when there is none. An entry without a terminal status is
    /// damaged if the index says that it ended.
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

    /// The entry in `folder`, whose record is open for reading and writing.
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

    /// Returns the entry with this id that somebody holds.
    pub(crate) fn held(open: &OpenEntries, id: Uuid) -> Option<Self> {
        open.get(id).map(|inner| Self { inner })
    }

    /// Returns the entry that everybody holds: this one, if it is the first.
    pub(crate) fn shared(self) -> Self {
        let inner = self.inner.open.share(self.id(), &self.inner);
        Self { inner }
    }

    /// Notes that the entry is a tombstone now.
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

    /// The digest of the body that it was accepted with.
    pub fn body_digest(&self) -> [u8; 32] {
        self.inner.header.digest
    }

    /// Returns the time of acceptance by the file system, for an entry with damaged statuses.
    pub fn file_time(&self) -> Option<SystemTime> {
        let metadata = self.inner.record.metadata().ok()?;
        metadata.created().or_else(|_| metadata.modified()).ok()
    }

    /// The body that it was accepted with.
    ///
    /// # Errors
    /// The disk's, `InvalidData` when what is there is damaged, `NotFound` once deleted.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        self.ensure_not_deleted()?;
        record::read_body(&self.inner.record, &self.inner.header)
    }

    /// Whether a terminal status was written.
    pub fn is_terminal(&self) -> bool {
        self.inner.terminal.load(Ordering::SeqCst)
    }

    /// Notes the end and the size in the index, for retention.
    pub(crate) fn note_size(&self) {
        self.inner.note_size();
    }

    /// Whether both are the one that everybody holds.
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
