//! Tombstones: the headers of deleted entries.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{Store, ids_in, name};
use crate::{
    files::{last_change, private, sync_dir},
    folder::record_path,
    layout::SLOTS_AT,
    record::Header,
};

/// How long an id that was deleted answers `deleted`.
const TOMBSTONE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tombstones that one pass checks; the next pass continues after them. At one pass a minute 1.4
/// million are checked within a day, which is exact enough for 30 days.
const TOMBSTONES_AT_ONCE: usize = 1000;

impl Store {
    /// Returns the digest of a deleted execution's body; None when none was deleted within 30 days.
    /// An unreadable tombstone counts, with a digest that no body has.
    pub(crate) fn tombstone(&self, id: Uuid) -> Option<[u8; 32]> {
        match Header::read_path(&self.tombstone_path(id)) {
            Ok(header) => header.map(|header| header.digest),
            Err(_) => Some([0; 32]),
        }
    }

    /// Makes an entry a tombstone: one rename takes the entry away and sets its tombstone, so there
    /// is no state between.
    pub(crate) fn move_to_tombstone(&self, id: Uuid) -> io::Result<()> {
        let folder = self.folder(id);
        fs::rename(record_path(&folder), self.tombstone_path(id))?;
        sync_dir(&self.dir.join("tombstones"))?;
        sync_dir(&folder)
    }

    /// Makes an entry a tombstone that has this header: for an entry whose record is damaged or
    /// missing.
    pub(crate) fn write_tombstone(&self, header: &Header) -> io::Result<()> {
        let staged = format!("{}.tombstone", name(header.id));
        let staged = self.dir.join("staging").join(staged);
        let file = private()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&staged)?;
        file.write_all_at(&header.encode(), 0)?;
        // Its length marks an unfinished deletion: see `Store::clear_away`.
        file.set_len(SLOTS_AT + 1)?;
        file.sync_all()?;
        fs::rename(&staged, self.tombstone_path(header.id))?;
        sync_dir(&self.dir.join("tombstones"))
    }

    /// Removes what a deletion leaves behind its tombstone. Cutting the tombstone to its header is
    /// the last step: an uncut one tells the next start that this was not finished.
    pub(crate) fn clear_away(&self, header: &Header) -> io::Result<()> {
        self.index().clear(header.sequence)?;
        let (folder, staging) = (self.folder(header.id), self.staging(header.id));
        match fs::rename(&folder, &staging) {
            Ok(()) => fs::remove_dir_all(&staging)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        File::options()
            .write(true)
            .open(self.tombstone_path(header.id))?
            .set_len(SLOTS_AT)
    }

    /// Finishes the deletions that a crash cut off: their tombstones still have a whole record.
    pub(super) fn finish_deletions(&self) -> io::Result<()> {
        for id in ids_in(&self.dir.join("tombstones"))? {
            let path = self.tombstone_path(id?);
            let finished = match fs::metadata(&path) {
                Ok(found) if found.len() <= SLOTS_AT => continue,
                Ok(_) => Header::read_path(&path),
                Err(error) => Err(error),
            };
            let finished = match finished {
                Ok(Some(header)) => self.clear_away(&header),
                other => other.map(|_| ()),
            };
            // The rest of an unfinished deletion takes room, but must not stop the start.
            if let Err(error) = finished {
                tracing::error!(%error, path = %path.display(), "could not finish a deletion");
            }
        }
        Ok(())
    }

    /// Removes old tombstones among the next ones in the folder's own order, and starts again after
    /// the last one.
    pub(crate) fn expire_tombstones(&self, now: SystemTime) -> io::Result<()> {
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = match sweep.take() {
            Some(names) => names,
            None => fs::read_dir(self.dir.join("tombstones"))?,
        };
        for _ in 0..TOMBSTONES_AT_ONCE {
            let Some(found) = names.next() else {
                return Ok(());
            };
            let path = found?.path();
            let Ok(deleted_at) = fs::metadata(&path).map(|found| last_change(&found)) else {
                continue;
            };
            if now
                .duration_since(deleted_at)
                .is_ok_and(|age| age > TOMBSTONE_AGE)
                && let Err(error) = fs::remove_file(&path)
            {
                let path = path.display();
                tracing::warn!(%error, %path, "could not remove an old tombstone");
            }
        }
        *sweep = Some(names);
        Ok(())
    }
}
