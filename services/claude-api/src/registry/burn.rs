//! Burned ids. An id that is cancelled before it is accepted is burned: it is refused for an hour,
//! so a delayed request cannot start the execution after its cancel.

use std::io;
use std::time::SystemTime;

use protocol::ExecutionId;
use spool::{Owner, SpoolError};

use super::Registry;
use super::admission::QueueFull;
use super::error::RegistryError;
use super::id_locks::IdLock;

/// The reason why [`Registry::burn`] did not burn an id, which is then not recorded as burned.
#[derive(Debug)]
pub enum NotBurned {
    /// The queue is full. A burned id needs a slot of the queue, which bounds the number of burned
    /// ids.
    QueueFull(QueueFull),
    /// An execution with this id exists; it must be cancelled instead.
    Exists,
    /// An execution with this id existed and was deleted.
    Deleted,
    /// The burned id could not be written to disk.
    Failed(RegistryError),
}

impl Registry {
    /// Records on disk that a client of `owner` cancelled an unknown id. For an hour, the id then
    /// cannot be accepted from that owner.
    ///
    /// # Errors
    /// The id exists or was deleted, the queue is full, or the disk failed (see [`NotBurned`]).
    pub fn burn(&self, id_lock: &IdLock, owner: Owner) -> Result<(), NotBurned> {
        let id = id_lock.id();
        let reservation = match self.burned.contains(id, owner) {
            true => None,
            false => Some(
                self.admission
                    .reserve(owner, None)
                    .map_err(NotBurned::QueueFull)?,
            ),
        };
        self.spool
            .burn(id.uuid(), owner)
            .map_err(|error| match error {
                SpoolError::Exists { .. } => NotBurned::Exists,
                SpoolError::Deleted { .. } => NotBurned::Deleted,
                other => NotBurned::Failed(other.into()),
            })?;
        // The reservation of a repeated burn may have expired meanwhile.
        let reservation =
            reservation.unwrap_or_else(|| self.admission.reserve_beyond_limits(owner));
        self.burned.ids().entry((id, owner)).or_insert(reservation);
        Ok(())
    }

    /// Reads the burned ids from the disk at the start of the service, and reserves a slot of the
    /// queue for each, even beyond the queue's limit. Ids that were burned over an hour ago are
    /// removed. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error.
    pub fn recover_burned(&self) -> io::Result<()> {
        self.spool.expire_burned(SystemTime::now())?;
        let mut ids = self.burned.ids();
        for (id, owner) in self.spool.burned()? {
            let reservation = self.admission.reserve_beyond_limits(owner);
            ids.insert((id.into(), owner), reservation);
        }
        Ok(())
    }

    /// Removes the ids that were burned over an hour before `now` from memory and disk, and
    /// releases their slots of the queue. They may be accepted again. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error; the next call removes the rest.
    pub fn expire_burned(&self, now: SystemTime) -> io::Result<()> {
        for (id, owner) in self.spool.expire_burned(now)? {
            self.burned.ids().remove(&(ExecutionId::from(id), owner));
        }
        Ok(())
    }
}
