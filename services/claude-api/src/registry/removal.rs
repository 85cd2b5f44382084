//! Removal of ended executions from the disk, when a client deletes one, and by retention, which
//! limits their age and total size.

use std::time::SystemTime;

use protocol::ExecutionId;
use spool::SpoolError;

use super::Registry;
use super::error::RegistryError;

/// The reason why [`Registry::delete`] did not delete an execution.
#[derive(Debug)]
pub enum NotDeleted {
    /// The execution has not ended, or its terminal status is not on disk yet.
    Living,
    /// No execution on disk has this id.
    Unknown,
    /// The files could not be removed, because the disk failed.
    Failed(RegistryError),
}

impl Registry {
    /// Deletes the files of an ended execution. For 30 days a small record of the deletion remains,
    /// and the id is refused. Repeating a deletion has no effect. Blocks on the disk.
    ///
    /// # Errors
    /// The execution has not ended, is unknown, or the disk failed (see [`NotDeleted`]).
    pub fn delete(&self, id: ExecutionId) -> Result<(), NotDeleted> {
        self.spool.delete(id.uuid()).map_err(|error| match error {
            SpoolError::Live => NotDeleted::Living,
            SpoolError::Unknown(_) => NotDeleted::Unknown,
            other => NotDeleted::Failed(other.into()),
        })
    }

    /// Deletes the ended executions that exceed the retention: first those older than `retentionMs`
    /// at the time `now`, then the oldest ones until the rest fits into `retentionBytes`. Returns
    /// the ids of the deleted executions. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error. Executions that were deleted before the error stay deleted.
    pub fn expire(&self, now: SystemTime) -> Result<Vec<ExecutionId>, RegistryError> {
        let expired = self.spool.expire(now)?;
        Ok(expired.into_iter().map(Into::into).collect())
    }
}
