//! Burned ids: ids that a client cancelled before their execution was accepted. They are refused
//! for an hour, so that a late request cannot start a cancelled execution.

use std::{
    fs, io,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::Spool;
use crate::{error::SpoolError, files::last_change};

/// The time for which a burned id is refused (1 hour): far longer than a request can be under way.
const BURN_AGE: Duration = Duration::from_secs(3600);

impl Spool {
    /// Refuses the acceptance of this id for the next hour, because a client cancelled it before it
    /// was accepted. The refusal is on disk when this returns. A repeated call restarts the hour.
    /// The caller limits the number of burned ids.
    ///
    /// # Errors
    /// `Exists`, `Deleted`, or `Unwritable`. On an error nothing is recorded.
    pub fn burn(&self, id: Uuid) -> Result<(), SpoolError> {
        let store = &self.store;
        // An acceptance of the same id has either finished before the burn, or begins after it.
        let _busy = store.hold(id);
        if let Some(header) = store.header(id)? {
            return Err(SpoolError::Exists {
                digest: header.digest,
            });
        }
        if let Some(digest) = store.tombstone(id) {
            return Err(SpoolError::Deleted { digest });
        }
        store
            .write_burned(id)
            .map_err(SpoolError::unwritable("the cancelled id"))
    }

    /// Whether this id was cancelled before acceptance and is still refused.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_burned(&self, id: Uuid) -> io::Result<bool> {
        self.store.is_burned(id)
    }

    /// Returns all ids that were cancelled before acceptance and are still refused. The service
    /// reads them at its start.
    ///
    /// # Errors
    /// The disk's.
    pub fn burned(&self) -> io::Result<Vec<Uuid>> {
        self.store.burned()
    }

    /// Ends the refusal of ids that were burned (cancelled before acceptance) more than an hour
    /// before `now`, and returns these ids.
    ///
    /// # Errors
    /// The disk's; ids removed before the error stay removed.
    pub fn expire_burned(&self, now: SystemTime) -> io::Result<Vec<Uuid>> {
        let mut expired = Vec::new();
        for id in self.burned()? {
            // A repeated burn either waits for this hold, or has already renewed the file's time.
            let _busy = self.store.hold(id);
            let path = self.store.burned_path(id);
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
                expired.push(id);
            }
        }
        Ok(expired)
    }
}
