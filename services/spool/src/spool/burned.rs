//! Burned ids are ids that a client cancelled before their execution was accepted. They are refused
//! for an hour, so that a late request cannot start a cancelled execution. A burn refuses the id
//! only to its owner, so that no principal can refuse the ids of another.

use std::{
    fs, io,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::Spool;
use crate::{error::SpoolError, files::last_change, owner::Owner, store::Tombstone};

/// The time for which an id that was cancelled before its acceptance is refused (1 hour). A request
/// can be under way for far less time.
const BURN_AGE: Duration = Duration::from_secs(3600);

impl Spool {
    /// Refuses the acceptance of this id for this owner for the next hour ("burns" it). A client of
    /// the owner has cancelled it before it was accepted. The refusal is on disk when this returns.
    /// A repeated call restarts the hour. The number of such ids is not limited here; the caller
    /// must limit it.
    ///
    /// # Errors
    /// `Exists` or `Deleted` if an execution with this id is or was stored, perhaps of another
    /// owner. `Unwritable` if the disk cannot be written, or `Io` if it cannot be read. On an error
    /// the id is not refused.
    pub fn burn(&self, id: Uuid, owner: Owner) -> Result<(), SpoolError> {
        let store = &self.store;
        // An acceptance of the same id has either finished before the burn, or begins after it.
        let _busy = store.hold(id);
        if let Some(header) = store.header(id)? {
            return Err(SpoolError::Exists {
                digest: header.digest,
                owner: header.owner,
            });
        }
        if let Some(Tombstone { digest, owner }) = store.tombstone(id) {
            return Err(SpoolError::Deleted { digest, owner });
        }
        store
            .write_burned(id, owner)
            .map_err(SpoolError::unwritable("the cancelled id"))
    }

    /// Whether this id is refused to this owner now, because a client of the owner cancelled it
    /// before its execution was accepted.
    ///
    /// # Errors
    /// The error of the operating system if the disk cannot be read.
    pub fn is_burned(&self, id: Uuid, owner: Owner) -> io::Result<bool> {
        self.store.is_burned(id, owner)
    }

    /// Returns all ids that are refused because a client cancelled them before their execution was
    /// accepted, each with the owner of the burn. The service reads them at its start.
    ///
    /// # Errors
    /// The error of the operating system if the disk cannot be read.
    pub fn burned(&self) -> io::Result<Vec<(Uuid, Owner)>> {
        self.store.burned()
    }

    /// Ends the refusal of ids that were cancelled before their acceptance, if that was more than
    /// an hour before `now`. Returns these ids, each with the owner of the burn.
    ///
    /// # Errors
    /// The error of the operating system. Refusals that were ended before the error stay ended.
    pub fn expire_burned(&self, now: SystemTime) -> io::Result<Vec<(Uuid, Owner)>> {
        let mut expired = Vec::new();
        for (id, owner) in self.burned()? {
            // A repeated burn either waits for this hold, or has already renewed the file's time.
            let _busy = self.store.hold(id);
            let path = self.store.burned_path(id, owner);
            let burned_at = match fs::metadata(&path) {
                Ok(metadata) => last_change(&metadata),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if now
                .duration_since(burned_at)
                .is_ok_and(|age| age > BURN_AGE)
            {
                fs::remove_file(&path)?;
                expired.push((id, owner));
            }
        }
        Ok(expired)
    }
}
