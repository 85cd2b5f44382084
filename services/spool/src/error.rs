//! The errors of the spool (the executions stored on disk). Each variant stands for one way in
//! which a caller must react, such as refusing a request, retrying, or repairing a damaged
//! execution.

use std::{io, path::PathBuf};

use uuid::Uuid;

use crate::{files::is_damage, owner::Owner};

/// The reason why an operation on the executions stored on disk was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has this folder open as its spool (its lock file is locked with flock(2)).
    /// Two processes would overwrite each other's statuses.
    #[error("the spool {dir} is in use by another process", dir = .0.display())]
    InUse(PathBuf),
    /// An execution with this id is already stored, so it was not accepted a second time.
    #[error("an execution with this id exists")]
    Exists {
        /// The digest of the request body with which the existing execution was accepted. If it
        /// equals the caller's, the caller repeated its request; otherwise it used the id for
        /// something else.
        digest: [u8; 32],
        /// The owner of the existing execution. If it is not the caller's, the caller may not learn
        /// more than that the id is in use.
        owner: Owner,
    },
    /// An execution with this id was deleted less than 30 days ago. The id may not be used again,
    /// so that a late repeat of the old request does not run it a second time.
    #[error("the execution with this id was deleted")]
    Deleted {
        /// The digest of the request body with which the deleted execution was accepted. All zeros
        /// if the note of the deletion is unreadable; no body has this digest.
        digest: [u8; 32],
        /// The owner of the deleted execution. [`Owner::UNKNOWN`] if the note of the deletion is
        /// unreadable.
        owner: Owner,
    },
    /// A client of the same owner cancelled this id before its execution was accepted. Such an id
    /// ("burned") is refused for an hour, so that the late request cannot start the execution that
    /// was cancelled.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The execution is still queued or running. Only an execution that has ended can be deleted.
    #[error("the execution is not terminal")]
    Live,
    /// No execution with this id is stored.
    #[error("no execution {0}")]
    Unknown(Uuid),
    /// A list was to begin at the execution with this id. But no such execution exists, and none
    /// was deleted within the last 30 days, or it belongs to another owner.
    #[error("no execution {0} to list before")]
    UnknownBefore(Uuid),
    /// The disk cannot be written because it is full, read-only, over quota, or broken.
    #[error("the spool cannot be written: {what}: {source}")]
    Unwritable {
        /// The part of the spool that was being written, in words for the message, such as `the
        /// index`.
        what: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The files of this execution have a wrong checksum or are too short.
    /// [`crate::Spool::restore`] repairs them enough that the execution can be read and ended.
    #[error("the record of execution {id} is damaged: {source}")]
    Damaged {
        /// The id of the damaged execution.
        id: Uuid,
        /// The error that showed the damage: `InvalidData` (wrong checksum) or `UnexpectedEof` (too
        /// short).
        source: io::Error,
    },
    /// The operating system reported an error while the disk was read. The files may be intact.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl SpoolError {
    /// Returns a function for `map_err` that classifies an error from reading the execution `id`:
    /// as `Damaged` if its data has a wrong checksum or is too short, and as `Io` otherwise.
    pub(crate) fn reading(id: Uuid) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if is_damage(&source) {
                Self::Damaged { id, source }
            } else {
                Self::Io(source)
            }
        }
    }

    /// Returns a function for `map_err` that wraps a disk error in `Unwritable`. `what` names the
    /// part of the spool that was being written, such as `the index`.
    pub(crate) fn unwritable(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Unwritable { what, source }
    }
}

/// The reason why no more bytes of an execution's output or raw events can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes at this offset are no longer on disk. They were freed because of a size limit or a
    /// full disk, or they could not be written at all.
    #[error("offset is no longer kept; the oldest kept is {kept_from} of {len}")]
    NotKept {
        /// The offset of the oldest byte that can still be read. Equal to `len` if no byte can be
        /// read.
        kept_from: u64,
        /// The number of bytes ever written, including those that are no longer on disk.
        len: u64,
    },
    /// The requested offset is larger than the number of bytes written so far.
    #[error("offset is beyond the end at {len}")]
    Beyond {
        /// The number of bytes written so far.
        len: u64,
    },
    /// The writer was dropped without finishing, for example by a panic. All bytes that it wrote
    /// have been read, but more may be missing at the end.
    #[error("the output was cut off")]
    Aborted,
    /// The operating system reported an error while the disk was read.
    #[error("the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}
