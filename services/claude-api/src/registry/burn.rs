//! Burned ids: an id that was cancelled before it was accepted is refused for an hour.

use std::io;
use std::time::SystemTime;

use protocol::ExecutionId;
use spool::SpoolError;

use super::Registry;
use super::admission::Full;
use super::error::RegistryError;
use super::turns::Turn;

/// The reason why an id was not burned. Nothing is recorded then.
#[derive(Debug)]
pub enum NotBurned {
    /// The queue has no place for another burned id.
    Full(Full),
    /// The id was accepted.
    Exists,
    /// The id was accepted, and its execution was deleted.
    Deleted,
    /// The registry failed.
    Failed(RegistryError),
}

impl Registry {
    /// Burns an unknown id; the record is on disk when this returns. A repeated burn begins the
    /// hour again and takes no second place. Blocks on the disk.
    ///
    /// # Errors
    /// See [`NotBurned`].
    pub fn burn(&self, turn: &Turn) -> Result<(), NotBurned> {
        let id = turn.id();
        let place = match self.burned.contains(id) {
            true => None,
            false => Some(self.admission.reserve(None).map_err(NotBurned::Full)?),
        };
        self.spool.burn(id.uuid()).map_err(|error| match error {
            SpoolError::Exists { .. } => NotBurned::Exists,
            SpoolError::Deleted { .. } => NotBurned::Deleted,
            other => NotBurned::Failed(other.into()),
        })?;
        // The place of a repeated burn may have expired meanwhile.
        let place = place.unwrap_or_else(|| self.admission.reserve_anyway());
        self.burned.ids().entry(id).or_insert(place);
        Ok(())
    }

    /// Reads the burned ids at the start, and takes their places in the queue. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn recover_burned(&self) -> io::Result<()> {
        self.spool.expire_burned(SystemTime::now())?;
        let mut ids = self.burned.ids();
        for id in self.spool.burned()? {
            ids.insert(id.into(), self.admission.reserve_anyway());
        }
        Ok(())
    }

    /// Forgets the ids that were burned over an hour before `now`, and frees their places. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// The disk's; the next call removes the rest.
    pub fn expire_burned(&self, now: SystemTime) -> io::Result<()> {
        for id in self.spool.expire_burned(now)? {
            self.burned.ids().remove(&ExecutionId::from(id));
        }
        Ok(())
    }
}
