//! The errors that a caller can act on.

use std::{io, path::PathBuf};

use uuid::Uuid;

use crate::files::is_damage;

/// The reason why the spool refused or failed an operation.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has the spool open. Two processes would overwrite each other's statuses.
    #[error("the spool {dir} is in use by another process", dir = .0.display())]
    InUse(PathBuf),
    /// An entry with this id exists.
    #[error("an execution with this id exists")]
    Exists {
        /// The digest that the existing entry was accepted with.
        digest: [u8; 32],
    },
    /// An entry with this id was deleted less than 30 days ago.
    #[error("the execution with this id was deleted")]
    Deleted {
        /// The digest that the deleted entry was accepted with.
        digest: [u8; 32],
    },
    /// The id was burned: it was cancelled before it was accepted.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The execution is not terminal; only terminal executions can be deleted.
    #[error("the execution is not terminal")]
    Live,
    /// No entry has this id.
    #[error("no execution {0}")]
    Unknown(Uuid),
    /// The id given as `before` is neither an entry nor a tombstone.
    #[error("no execution {0} to list before")]
    UnknownBefore(Uuid),
    /// The disk cannot be written: it is full, read-only, over quota, or broken.
    #[error("the spool cannot be written: {what}: {source}")]
    Unwritable {
        /// The name of the part that was being written.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The entry is damaged on disk. [`crate::Spool::restore`] repairs the entry enough to end it.
    #[error("the record of execution {id} is damaged: {source}")]
    Damaged {
        /// The id of the damaged entry.
        id: Uuid,
        /// The error found while reading.
        source: io::Error,
    },
    /// Reading failed.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl SpoolError {
    /// Returns a function that maps an error from reading the entry `id`.
    pub(crate) fn reading(id: Uuid) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if is_damage(&source) {
                Self::Damaged { id, source }
            } else {
                Self::Io(source)
            }
        }
    }

    pub(crate) fn unwritable(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Unwritable { what, source }
    }
}

/// The reason why a reader cannot return more bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes at the reader's offset were freed, or were never written because the disk was
    /// full.
    #[error("offset is no longer kept; the oldest kept is {kept_from} of {len}")]
    NotKept {
        /// The oldest offset that is kept.
        kept_from: u64,
        /// The output's length.
        len: u64,
    },
    /// The offset lies beyond the present end.
    #[error("offset is beyond the end at {len}")]
    Beyond {
        /// The output's present length.
        len: u64,
    },
    /// The writer was dropped without finishing, so the output may be incomplete.
    #[error("the output was cut off")]
    Aborted,
    /// The disk failed.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}
