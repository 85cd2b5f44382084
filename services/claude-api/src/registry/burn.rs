//! Burned ids: an id that was cancelled before it was accepted is refused for an hour.

use std::io;
use std::time::SystemTime;

use protocol::ExecutionId;
use spool::SpoolError;

use super::Registry;
use super::admission::QueueFull;
use super::error::RegistryError;
use super::id_locks::IdLock;

/// The reason why [`Registry::burn`] refused an id. Nothing is recorded then.
#[derive(Debug)]
pub enum NotBurned {
    /// The queue has no slot for another burned id.
    QueueFull(QueueFull),
    /// The id was accepted.
    Exists,
    /// The id was accepted, and its execution was deleted.
    Deleted,
    /// The disk failed.
    Failed(RegistryError),
}

impl Registry {
    /// Burns an unknown id: records that it was cancelled, so that it cannot be accepted for an
    /// hour. The record is on disk when this returns. A repeated burn restarts the hour and
    /// acquires no second slot of the queue. Blocks on the disk.
    ///
    /// # Errors
    /// See [`NotBurned`].
    pub fn burn(&self, id_lock: &IdLock) -> Result<(), NotBurned> {
        let id = id_lock.id();
        let reservation = match self.burned.contains(id) {
            true => None,
            false => Some(self.admission.reserve(None).map_err(NotBurned::QueueFull)?),
        };
        self.spool.burn(id.uuid()).map_err(|error| match error {
            SpoolError::Exists { .. } => NotBurned::Exists,
            SpoolError::Deleted { .. } => NotBurned::Deleted,
            other => NotBurned::Failed(other.into()),
        })?;
        // The reservation of a repeated burn may have expired meanwhile.
        let reservation = reservation.unwrap_or_else(|| self.admission.reserve_beyond_limits());
        self.burned.ids().entry(id).or_insert(reservation);
        Ok(())
    }

    /// Reads the burned ids at the start, and reserves their slots of the queue. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// A disk error.
    pub fn recover_burned(&self) -> io::Result<()> {
        self.spool.expire_burned(SystemTime::now())?;
        let mut ids = self.burned.ids();
        for id in self.spool.burned()? {
            ids.insert(id.into(), self.admission.reserve_beyond_limits());
        }
        Ok(())
    }

    /// Forgets the ids that were burned over an hour before `now`, and releases their slots. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// A disk error; the next call removes the rest.
    pub fn expire_burned(&self, now: SystemTime) -> io::Result<()> {
        for id in self.spool.expire_burned(now)? {
            self.burned.ids().remove(&ExecutionId::from(id));
        }
        Ok(())
    }
}
