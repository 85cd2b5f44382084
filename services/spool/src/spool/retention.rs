//! Retention: which ended executions go, oldest ended first.

use std::{
    collections::BinaryHeap,
    time::{SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::entry::disk_bytes;

/// How long an id that was deleted answers `deleted`.
const TOMBSTONE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Chosen at once: what bounds the memory of a pass over any number of executions.
const BATCH: usize = 256;

impl Spool {
    /// Deletes what ended longer ago than the retention, then the oldest ended until the rest fits its size; live ones
    /// count but stay. Tombstones older than 30 days go too. Returns the ids deleted.
    ///
    /// # Errors
    /// The disk's; what was deleted before stays deleted.
    pub fn expire(&self, now: SystemTime) -> Result<Vec<Uuid>, SpoolError> {
        let now_ms = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_millis() as u64);
        let keep_ms = u64::try_from(self.shared.limits.retention.as_millis()).unwrap_or(u64::MAX);
        let mut gone = Vec::new();
        loop {
            let (oldest, total) = self.oldest_ended()?;
            let mut over = total.saturating_sub(self.shared.limits.retention_bytes);
            let before = gone.len();
            let found = oldest.len();
            for Candidate { at_ms, bytes, id } in oldest {
                let old = at_ms.saturating_add(keep_ms) < now_ms;
                if !old && over == 0 {
                    break;
                }
                over = over.saturating_sub(bytes);
                match self.delete(id) {
                    Ok(()) => gone.push(id),
                    // Deleted by a client meanwhile.
                    Err(SpoolError::Unknown(_) | SpoolError::Live) => {}
                    Err(error) => return Err(error),
                }
            }
            if gone.len() - before < found || found < BATCH {
                break;
            }
        }
        self.expire_tombstones(now)?;
        Ok(gone)
    }

    /// The first to go, oldest end first, at most `BATCH`, and what all take on disk.
    fn oldest_ended(&self) -> Result<(Vec<Candidate>, u64), SpoolError> {
        let mut total = 0_u64;
        let mut heap: BinaryHeap<Candidate> = BinaryHeap::with_capacity(BATCH + 1);
        let mut live = Vec::new();
        self.shared.index().scan(|_, slot| {
            let Slot::Row(Row { id, ended }) = slot else {
                return true;
            };
            match ended {
                None => live.push(id),
                Some(Ended { at_ms, bytes }) => {
                    total = total.saturating_add(bytes);
                    heap.push(Candidate { at_ms, bytes, id });
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

    fn expire_tombstones(&self, now: SystemTime) -> Result<(), SpoolError> {
        for id in ids_in(&self.shared.dir.join("tombstones"))? {
            let path = self.shared.tombstone_path(id?);
            let Ok(deleted_at) = fs::metadata(&path).and_then(|found| found.modified()) else {
                continue;
            };
            if now
                .duration_since(deleted_at)
                .is_ok_and(|age| age > TOMBSTONE_AGE)
            {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Ordered by the end.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    at_ms: u64,
    bytes: u64,
    id: Uuid,
}
