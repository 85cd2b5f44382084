//! Burned ids: executions that were cancelled before they were accepted. Their files are in
//! `store`.

use std::{
    fs, io,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::Spool;
use crate::{error::SpoolError, files::last_change};

/// How long a burned id is refused: far longer than an acceptance can be on its way.
const BURN_AGE: Duration = Duration::from_secs(3600);

impl Spool {
    /// Refuses the acceptance of this id for an hour from now on; the record is on disk when this
    /// returns. A repeated burn begins the hour again. The caller bounds how many ids are burned.
    ///
    /// # Errors
    /// `Exists`, `Deleted`, or `Unwritable`; then nothing is recorded.
    pub fn burn(&self, id: Uuid) -> Result<(), SpoolError> {
        let store = &self.store;
        // An acceptance of the same id has either finished, or begins after the burn.
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

    /// Whether this id was burned.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_burned(&self, id: Uuid) -> io::Result<bool> {
        self.store.is_burned(id)
    }

    /// Returns all burned ids. For the start.
    ///
    /// # Errors
    /// The disk's.
    pub fn burned(&self) -> io::Result<Vec<Uuid>> {
        self.store.burned()
    }

    /// Forgets the ids that were burned over an hour ago, and returns them.
    ///
    /// # Errors
    /// The disk's; ids forgotten before the error stay forgotten.
    pub fn expire_burned(&self, now: SystemTime) -> io::Result<Vec<Uuid>> {
        let mut expired = Vec::new();
        for id in self.burned()? {
            // A repeated burn either waits for this lock, or has already renewed the file's time.
            let _busy = self.store.hold(id);
            let path = self.store.burned_path(id);
            let burned_at = match fs::metadata(&path) {
                Ok(found) => last_change(&found),
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
