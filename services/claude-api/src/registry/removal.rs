//! Removal of ended executions from the disk: by deletion on request, and by retention.

use std::time::SystemTime;

use protocol::ExecutionId;
use spool::SpoolError;

use super::Registry;
use super::error::RegistryError;

/// The reason why an execution was not deleted.
#[derive(Debug)]
pub enum NotDeleted {
    /// The execution has not ended, or its end is not on disk yet.
    Living,
    /// The id is unknown.
    Unknown,
    /// The disk failed.
    Failed(RegistryError),
}

impl Registry {
    /// Deletes an ended execution. Its id is then refused for 30 days. A repeated deletion changes
    /// nothing. Blocks on the disk.
    ///
    /// # Errors
    /// See [`NotDeleted`].
    pub fn delete(&self, id: ExecutionId) -> Result<(), NotDeleted> {
        self.spool.delete(id.uuid()).map_err(|error| match error {
            SpoolError::Live => NotDeleted::Living,
            SpoolError::Unknown(_) => NotDeleted::Unknown,
            other => NotDeleted::Failed(other.into()),
        })
    }

    /// Removes the ended executions that are too old at `now`, then the oldest ones until the rest
    /// fits into the limit of size. Returns the removed ids. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error; executions removed before the error stay removed.
    pub fn expire(&self, now: SystemTime) -> Result<Vec<ExecutionId>, RegistryError> {
        let expired = self.spool.expire(now)?;
        Ok(expired.into_iter().map(Into::into).collect())
    }
}
