//! The files that remember burned ids, which a client cancelled before their execution was
//! accepted. Such an id is refused for an hour. Each file is empty and named after its id; its
//! modification time is the time of the last cancel.

use std::{fs::File, io, time::SystemTime};

use uuid::Uuid;

use super::{Store, ids_in};
use crate::files::sync_together;

impl Store {
    /// Whether this id is refused now because a client cancelled it before its execution was
    /// accepted.
    pub(crate) fn is_burned(&self, id: Uuid) -> io::Result<bool> {
        self.burned_path(id).try_exists()
    }

    /// Returns all ids that are refused because a client cancelled them before their execution was
    /// accepted.
    pub(crate) fn burned(&self) -> io::Result<Vec<Uuid>> {
        ids_in(&self.dir.join("burned"))?.collect()
    }

    /// Creates the file by which an id is refused, or sets the time of an existing one to now.
    /// Waits until the file is on disk.
    pub(crate) fn write_burned(&self, id: Uuid) -> io::Result<()> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.burned_path(id))?;
        file.set_modified(SystemTime::now())?;
        sync_together(&file, &[File::open(self.dir.join("burned"))?])
    }
}
