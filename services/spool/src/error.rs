//! The errors a caller can act on.

use std::{io, path::PathBuf};

use uuid::Uuid;

use crate::files::is_damage;

/// Why the spool did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has the spool open; two would overwrite each other's statuses.
    #[error("the spool {dir} is in use by another process", dir = .0.display())]
    InUse(PathBuf),
    /// An entry with this id exists.
    #[error("an execution with this id exists")]
    Exists {
        /// The digest that the existing entry was accepted with.
        digest: [u8; 32],
    },
    /// An entry with this id was deleted, and its tombstone stands.
    #[error("the execution with this id was deleted")]
    Deleted {
        /// The digest that the deleted entry was accepted with.
        digest: [u8; 32],
    },
    /// The id was burned: it was cancelled before it was accepted.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The entry is not terminal; only terminal ones are deleted.
    #[error("the execution is not terminal")]
    Live,
    /// There is no such entry.
    #[error("no execution {0}")]
    Unknown(Uuid),
    /// The id to list before is neither an entry nor a tombstone.
    #[error("no execution {0} to list before")]
    UnknownBefore(Uuid),
    /// The disk does not take what has to be recorded: full, read-only, over quota, or broken.
    #[error("the spool cannot be written: {what}: {source}")]
    Unwritable {
        /// What was being written.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The entry is damaged on disk. [`crate::Spool::restore`] repairs it so far that it can be
    /// ended.
    #[error("the record of execution {id} is damaged: {source}")]
    Damaged {
        /// The entry.
        id: Uuid,
        /// The damage.
        source: io::Error,
    },
    /// Reading failed.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl SpoolError {
    /// Maps an error of reading the entry `id`.
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

/// Why a reader has no next bytes.
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
    /// The writer went away without finishing: what was read may not be all.
    #[error("the output was cut off")]
    Aborted,
    /// The disk failed.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}
