//! Tombstones are small files that remember the ids, digests and owners of deleted executions for
//! 30 days. So a repeated request cannot run one again.

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
    owner::Owner,
    record::Header,
};

/// The time for which the id of a deleted execution is remembered and refused (30 days).
const TOMBSTONE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The most files of deleted executions (tombstones) whose age one pass checks (1000); the next
/// pass continues after them. At one pass a minute, 1.4 million are checked within a day, which is
/// exact enough for 30 days.
const TOMBSTONES_AT_ONCE: usize = 1000;

/// The facts that are remembered of a deleted execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The digest of the request body with which the execution was accepted. All zeros, which no
    /// body has, if the file that remembers the deletion cannot be read.
    pub digest: [u8; 32],
    /// The owner of the execution. [`Owner::UNKNOWN`] if the file that remembers the deletion
    /// cannot be read.
    pub owner: Owner,
}

impl Store {
    /// Returns the facts that are remembered of a deleted execution. `None` if no execution with
    /// this id was deleted within 30 days.
    pub(crate) fn tombstone(&self, id: Uuid) -> Option<Tombstone> {
        match Header::read_path(&self.tombstone_path(id)) {
            Ok(header) => header.map(|Header { digest, owner, .. }| Tombstone { digest, owner }),
            Err(_) => Some(Tombstone {
                digest: [0; 32],
                owner: Owner::UNKNOWN,
            }),
        }
    }

    /// Deletes an execution by moving its record file to the folder of tombstones, where it
    /// remembers the deletion. One rename does both, so a crash leaves either the execution or the
    /// tombstone. The other files stay until [`Store::clear_away`].
    pub(crate) fn move_to_tombstone(&self, id: Uuid) -> io::Result<()> {
        let folder = self.folder(id);
        fs::rename(record_path(&folder), self.tombstone_path(id))?;
        sync_dir(&self.dir.join("tombstones"))?;
        sync_dir(&folder)
    }

    /// Writes the file that remembers a deletion, with the facts in `header`. Used for an execution
    /// whose record file is damaged or missing, and so cannot be moved there.
    pub(crate) fn write_tombstone(&self, header: &Header) -> io::Result<()> {
        let staged = format!("{}.tombstone", name(header.id));
        let staged = self.dir.join("staging").join(staged);
        let file = private()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&staged)?;
        file.write_all_at(&header.encode(), 0)?;
        // This length marks an unfinished deletion: see `Store::clear_away`.
        file.set_len(SLOTS_AT + 1)?;
        file.sync_all()?;
        fs::rename(&staged, self.tombstone_path(header.id))?;
        sync_dir(&self.dir.join("tombstones"))
    }

    /// Removes the remaining files of a deleted execution: its index row, its folder, and the part
    /// of its tombstone after the header and notes. Truncating the tombstone is the last step,
    /// because the next start treats a longer one as an unfinished deletion.
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

    /// Finishes deletions that a crash interrupted. They are recognised by a tombstone file that is
    /// not truncated yet. A deletion that fails again is logged and does not prevent the start.
    pub(super) fn finish_deletions(&self) -> io::Result<()> {
        for id in ids_in(&self.dir.join("tombstones"))? {
            let path = self.tombstone_path(id?);
            let finished = match fs::metadata(&path) {
                Ok(metadata) if metadata.len() <= SLOTS_AT => continue,
                Ok(_) => Header::read_path(&path),
                Err(error) => Err(error),
            };
            let finished = match finished {
                Ok(Some(header)) => self.clear_away(&header),
                other => other.map(|_| ()),
            };
            // The leftovers of an unfinished deletion take space, but must not prevent the start.
            if let Err(error) = finished {
                tracing::error!(
                    %error, path = %path.display(),
                    "could not remove all files of a deleted execution; the next start retries"
                );
            }
        }
        Ok(())
    }

    /// Removes the files that remember deletions (tombstones) if they are older than 30 days. Each
    /// call checks the next 1000 files of their folder. After the last file, the next call begins
    /// with the first again.
    ///
    /// # Errors
    /// The error of the operating system if the folder cannot be listed. A file that cannot be
    /// removed is only logged.
    pub(crate) fn expire_tombstones(&self, now: SystemTime) -> io::Result<()> {
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = match sweep.take() {
            Some(names) => names,
            None => fs::read_dir(self.dir.join("tombstones"))?,
        };
        for _ in 0..TOMBSTONES_AT_ONCE {
            let Some(entry) = names.next() else {
                return Ok(());
            };
            let path = entry?.path();
            let Ok(deleted_at) = fs::metadata(&path).map(|metadata| last_change(&metadata)) else {
                continue;
            };
            if now
                .duration_since(deleted_at)
                .is_ok_and(|age| age > TOMBSTONE_AGE)
                && let Err(error) = fs::remove_file(&path)
            {
                let path = path.display();
                tracing::warn!(
                    %error, %path,
                    "could not remove the tombstone of an execution deleted long ago; a later pass \
                     retries"
                );
            }
        }
        *sweep = Some(names);
        Ok(())
    }
}
