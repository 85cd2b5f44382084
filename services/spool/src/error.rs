//! The errors of the spool, one variant for each reaction that a caller may need.

use std::{io, path::PathBuf};

use uuid::Uuid;

use crate::files::is_damage;

/// The reason why the spool refused or failed an operation on an execution.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has the spool's folder open. Two processes would overwrite each other's
    /// statuses.
    #[error("the spool {dir} is in use by another process", dir = .0.display())]
    InUse(PathBuf),
    /// The spool already holds an execution with this id.
    #[error("an execution with this id exists")]
    Exists {
        /// The digest of the body with which the existing execution was accepted. Equal digests
        /// mean that the caller repeated its request.
        digest: [u8; 32],
    },
    /// An execution with this id was deleted less than 30 days ago, so the id may not be reused.
    #[error("the execution with this id was deleted")]
    Deleted {
        /// The digest of the body with which the deleted execution was accepted.
        digest: [u8; 32],
    },
    /// A client cancelled this id before its execution was accepted, which "burns" the id: it is
    /// refused for an hour.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The execution has not ended; only ended executions can be deleted.
    #[error("the execution is not terminal")]
    Live,
    /// The spool holds no execution with this id.
    #[error("no execution {0}")]
    Unknown(Uuid),
    /// The id at which a page of the list should begin (`before`) is neither an execution nor a
    /// deleted one that is still remembered.
    #[error("no execution {0} to list before")]
    UnknownBefore(Uuid),
    /// The disk cannot be written: it is full, read-only, over quota, or broken.
    #[error("the spool cannot be written: {what}: {source}")]
    Unwritable {
        /// The part of the spool that was being written, such as `the index`.
        what: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The files of this execution are damaged. [`crate::Spool::restore`] repairs them enough to
    /// end it.
    #[error("the record of execution {id} is damaged: {source}")]
    Damaged {
        /// The id of the damaged entry.
        id: Uuid,
        /// The error found while reading.
        source: io::Error,
    },
    /// The disk failed while reading.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl SpoolError {
    /// Returns a function for `map_err` that turns an error from reading the entry `id` into
    /// `Damaged` or `Io`.
    pub(crate) fn reading(id: Uuid) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if is_damage(&source) {
                Self::Damaged { id, source }
            } else {
                Self::Io(source)
            }
        }
    }

    /// Returns a function for `map_err` that turns an error from writing `what`, a part of the
    /// spool, into `Unwritable`.
    pub(crate) fn unwritable(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Unwritable { what, source }
    }
}

/// The reason why a reader of output or events cannot return more bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes at the reader's offset were freed, or were never written because the disk was
    /// full.
    #[error("offset is no longer kept; the oldest kept is {kept_from} of {len}")]
    NotKept {
        /// The offset of the oldest byte that can still be read.
        kept_from: u64,
        /// The length: every byte ever written, kept or not.
        len: u64,
    },
    /// The requested offset lies after the present end.
    #[error("offset is beyond the end at {len}")]
    Beyond {
        /// The output's present length.
        len: u64,
    },
    /// The writer of the output was dropped without finishing, so bytes may be missing at the end.
    #[error("the output was cut off")]
    Aborted,
    /// The disk failed.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}
