//! The error of the registry's methods.

use std::io;

use protocol::ExecutionId;
use spool::SpoolError;

/// A failure of the disk, or a damaged record. It never means that an id does not exist; each
/// method documents what is on disk after its errors.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The record cannot be written: the disk is full, read-only, over quota or broken.
    #[error("the spool cannot be written: {what}: {source}")]
    Unwritable {
        /// The part that was being written.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The record of an execution is damaged on disk; [`super::Registry::end_damaged`] ends it.
    #[error("the record of execution {id} is damaged: {source}")]
    Damaged {
        /// The execution.
        id: ExecutionId,
        /// The damage.
        source: io::Error,
    },
    /// Any other failure of the spool.
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
