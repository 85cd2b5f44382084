//! Retention: which ended executions go, oldest ended first.
//!
//! An execution that cannot be removed is logged, and the pass continues with the others. A damaged
//! one leaves a tombstone made from its row of the index.

use std::{
    collections::BinaryHeap,
    os::unix::fs::FileExt,
    time::{SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::{entry::disk_bytes, files::last_change};

/// How long an id that was deleted answers `deleted`.
const TOMBSTONE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Chosen at once: what bounds the memory of a pass over any number of executions.
const BATCH: usize = 256;
/// Tombstones that one pass checks; the next pass continues after them. At one pass a minute 1.4
/// million are checked within a day, which is exact enough for 30 days.
const TOMBSTONES_AT_ONCE: usize = 1000;

impl Spool {
    /// Deletes executions that ended longer ago than the retention, then the oldest ended ones
    /// until the rest fits the size. Live ones count but stay. Each call also removes a part of the
    /// tombstones older than 30 days. Returns the deleted ids.
    ///
    /// # Errors
    /// The disk's; executions deleted before the error stay deleted. An execution that cannot be
    /// deleted is no error.
    pub fn expire(&self, now: SystemTime) -> Result<Vec<Uuid>, SpoolError> {
        let now_ms = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_millis() as u64);
        let keep_ms = u64::try_from(self.shared.limits.retention.as_millis()).unwrap_or(u64::MAX);
        let mut gone = Vec::new();
        // Executions that could not be removed in this pass, at most a batch.
        let mut stuck = HashSet::new();
        loop {
            let (oldest, total) = self.oldest_ended(&stuck)?;
            let mut over = total.saturating_sub(self.shared.limits.retention_bytes);
            let mut left = total;
            let before = gone.len() + stuck.len();
            let full = oldest.len() == BATCH;
            let mut rest_stays = false;
            for candidate in oldest {
                let old = candidate.at_ms.saturating_add(keep_ms) < now_ms;
                if !old && over == 0 {
                    rest_stays = true;
                    break;
                }
                match self.remove(&candidate) {
                    Ok(removed) => {
                        over = over.saturating_sub(candidate.bytes);
                        left = left.saturating_sub(candidate.bytes);
                        if removed {
                            gone.push(candidate.id);
                        }
                    }
                    Err(error) => {
                        let id = candidate.id;
                        tracing::error!(%error, %id, "could not remove an ended execution");
                        stuck.insert(candidate.id);
                    }
                }
            }
            self.shared.measured_bytes.store(left, Ordering::Relaxed);
            let progress = gone.len() + stuck.len() > before;
            if rest_stays || !full || !progress || stuck.len() >= BATCH {
                break;
            }
        }
        self.expire_tombstones(now)?;
        Ok(gone)
    }

    /// The bytes that all executions took on disk after the last pass of [`Self::expire`]; 0 before
    /// the first one. Never touches the disk.
    #[must_use]
    pub fn measured_bytes(&self) -> u64 {
        self.shared.measured_bytes.load(Ordering::Relaxed)
    }

    /// Removes an ended entry, damaged or not. False when another task removed it.
    fn remove(&self, candidate: &Candidate) -> Result<bool, SpoolError> {
        match self.delete(candidate.id) {
            Ok(()) => Ok(true),
            // A damaged entry that is being ended again.
            Err(SpoolError::Live) => Ok(false),
            // Deleted by a client meanwhile, or its record is gone.
            Err(SpoolError::Unknown(_)) => self.bury(candidate, "its record is gone"),
            Err(SpoolError::Damaged { source, .. }) => self.bury(candidate, &source.to_string()),
            Err(error) => Err(error),
        }
    }

    /// Removes an entry that cannot be opened, and leaves a tombstone made from its row.
    fn bury(&self, candidate: &Candidate, why: &str) -> Result<bool, SpoolError> {
        let shared = &self.shared;
        let &Candidate { id, sequence, .. } = candidate;
        let _busy = shared.hold(id);
        let row = shared.index().at(sequence)?;
        let unopened = matches!(self.get(id), Ok(None) | Err(SpoolError::Damaged { .. }));
        if !(unopened && matches!(row, Slot::Row(row) if row.id == id)) {
            return Ok(false);
        }
        let read = Header::read_path(&shared.folder(id).join("record"));
        let header = match read {
            Ok(Some(header)) if header.id == id => Header { sequence, ..header },
            _ => Header {
                id,
                sequence,
                // No body has this digest.
                digest: [0; 32],
                body_len: 0,
                body_crc: 0,
            },
        };
        let staged = shared
            .dir
            .join("staging")
            .join(format!("{}.tombstone", name(id)));
        let buried = || {
            let file = private()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&staged)?;
            file.write_all_at(&header.encode(), 0)?;
            // Its length marks an unfinished deletion: see `Shared::clear_away`.
            file.set_len(SLOTS_AT + 1)?;
            file.sync_all()?;
            fs::rename(&staged, shared.tombstone_path(id))?;
            sync_dir(&shared.dir.join("tombstones"))?;
            shared.clear_away(&header)
        };
        buried().map_err(SpoolError::unwritable("the tombstone"))?;
        tracing::error!(%id, why, "a damaged execution was removed by retention");
        Ok(true)
    }

    /// Returns the next executions to delete, oldest end first, at most `BATCH` and without
    /// `excluded`; also the bytes that all executions take on disk.
    fn oldest_ended(&self, excluded: &HashSet<Uuid>) -> Result<(Vec<Candidate>, u64), SpoolError> {
        let mut total = 0_u64;
        let mut heap: BinaryHeap<Candidate> = BinaryHeap::with_capacity(BATCH + 1);
        let mut live = Vec::new();
        self.shared.index().scan(|sequence, slot| {
            let Slot::Row(Row { id, ended }) = slot else {
                return true;
            };
            match ended {
                None => live.push(id),
                Some(Ended { at_ms, bytes }) => {
                    total = total.saturating_add(bytes);
                    if excluded.contains(&id) {
                        return true;
                    }
                    heap.push(Candidate {
                        at_ms,
                        bytes,
                        id,
                        sequence,
                    });
                    if heap.len() > BATCH {
                        heap.pop();
                    }
                }
            }
            true
        })?;
        for id in live {
            total = total.saturating_add(disk_bytes(&self.shared.folder(id)));
        }
        Ok((heap.into_sorted_vec(), total))
    }

    /// Checks the next tombstones in the folder's own order, and starts again after the last one.
    fn expire_tombstones(&self, now: SystemTime) -> io::Result<()> {
        let mut sweep = self
            .shared
            .sweep
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut names = match sweep.take() {
            Some(names) => names,
            None => fs::read_dir(self.shared.dir.join("tombstones"))?,
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

/// Ordered by the end.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    at_ms: u64,
    bytes: u64,
    id: Uuid,
    sequence: u64,
}
