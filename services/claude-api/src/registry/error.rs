//! The error type of the registry, which keeps the records of executions on disk.

use std::io;

use protocol::ExecutionId;
use spool::SpoolError;

/// A failure of the disk, or a damaged record on it. It never means that an id does not exist. Each
/// method documents the state of the disk after its errors.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A record cannot be written: the disk is full (`ENOSPC`), read-only (`EROFS`), over quota
    /// (`EDQUOT`) or broken (`EIO`).
    #[error("the spool cannot be written: {what}: {source}")]
    Unwritable {
        /// What was being written, for error texts, such as `the body`.
        what: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// The record of an execution is damaged on disk. `Registry::end_damaged` ends the execution.
    #[error("the record of execution {id} is damaged: {source}")]
    Damaged {
        /// The id of the execution.
        id: ExecutionId,
        /// How the record is damaged.
        source: io::Error,
    },
    /// Any other failure of the spool, the folder of all records.
    #[error(transparent)]
    Spool(SpoolError),
}

impl From<SpoolError> for RegistryError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Unwritable { what, source } => Self::Unwritable { what, source },
            SpoolError::Damaged { id, source } => Self::Damaged {
                id: id.into(),
                source,
            },
            other => Self::Spool(other),
        }
    }
}

impl From<io::Error> for RegistryError {
    fn from(error: io::Error) -> Self {
        Self::Spool(SpoolError::Io(error))
    }
}
