//! Deletes ended executions because of their age and of the disk space that all executions use,
//! oldest end first.
//!
//! An execution that cannot be deleted is logged, and the pass continues with the others. If a
//! record file is damaged, the file that remembers the deletion (tombstone) is made from the index
//! row.

use std::{
    collections::{BinaryHeap, HashSet},
    sync::atomic::Ordering,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::Spool;
use crate::{
    error::SpoolError,
    folder::disk_bytes,
    index::{EndFacts, Row, Slot},
    record::Header,
};

/// The most executions that one scan of the index chooses for deletion (256). It bounds the memory
/// that a scan needs; more are deleted by further scans.
const BATCH: usize = 256;

impl Spool {
    /// Deletes executions that ended longer ago than the configured retention time. Then deletes
    /// more ended executions, oldest end first, until all executions fit into the configured disk
    /// space. Queued and running executions use space but are never deleted. Returns the ids of the
    /// deleted executions.
    ///
    /// Each call also removes some of the files (tombstones) that remember deletions older than 30
    /// days. An execution that cannot be deleted is logged and skipped.
    ///
    /// # Errors
    /// `Io` if the index or the folder of tombstones cannot be read. Executions deleted before the
    /// error stay deleted.
    pub fn expire(&self, now: SystemTime) -> Result<Vec<Uuid>, SpoolError> {
        let now_ms = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_millis() as u64);
        let keep_ms = u64::try_from(self.store.limits.retention.as_millis()).unwrap_or(u64::MAX);
        let mut deleted = Vec::new();
        // Executions that could not be removed in this pass, at most a batch.
        let mut stuck = HashSet::new();
        loop {
            let (oldest, total) = self.oldest_ended(&stuck)?;
            let mut excess = total.saturating_sub(self.store.limits.retention_bytes);
            let mut remaining = total;
            let handled_before = deleted.len() + stuck.len();
            let full = oldest.len() == BATCH;
            let mut rest_stays = false;
            for candidate in oldest {
                let old = candidate.at_ms.saturating_add(keep_ms) < now_ms;
                if !old && excess == 0 {
                    rest_stays = true;
                    break;
                }
                match self.remove(&candidate) {
                    Ok(removed) => {
                        excess = excess.saturating_sub(candidate.bytes);
                        remaining = remaining.saturating_sub(candidate.bytes);
                        if removed {
                            deleted.push(candidate.id);
                        }
                    }
                    Err(error) => {
                        let id = candidate.id;
                        tracing::error!(
                            %error, %id,
                            "could not delete an expired execution; the next pass retries"
                        );
                        stuck.insert(candidate.id);
                    }
                }
            }
            self.store
                .measured_bytes
                .store(remaining, Ordering::Relaxed);
            let progress = deleted.len() + stuck.len() > handled_before;
            if rest_stays || !full || !progress || stuck.len() >= BATCH {
                break;
            }
        }
        self.store.expire_tombstones(now)?;
        Ok(deleted)
    }

    /// Returns the disk space that all executions use, in bytes, as the last [`Self::expire`]
    /// measured it. 0 before the first call of `expire`. Never touches the disk.
    #[must_use]
    pub fn measured_bytes(&self) -> u64 {
        self.store.measured_bytes.load(Ordering::Relaxed)
    }

    /// Deletes an ended execution, even if its files are damaged. Returns true if this call deleted
    /// it, and false if another task has deleted it or is just writing its end again.
    fn remove(&self, candidate: &Candidate) -> Result<bool, SpoolError> {
        match self.delete(candidate.id) {
            Ok(()) => Ok(true),
            // The entry is damaged, and another task is ending it again.
            Err(SpoolError::Live) => Ok(false),
            // A client deleted the entry in the meantime, or its record is missing.
            Err(SpoolError::Unknown(_)) => self.remove_damaged(candidate, "the record is missing"),
            Err(SpoolError::Damaged { source, .. }) => {
                self.remove_damaged(candidate, &source.to_string())
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes an execution whose record file cannot be opened. The file that remembers the
    /// deletion (tombstone) is made from the execution's row in the index. Returns false, and
    /// deletes nothing, if the record can be opened now or the row is gone.
    fn remove_damaged(&self, candidate: &Candidate, reason: &str) -> Result<bool, SpoolError> {
        let store = &self.store;
        let &Candidate { id, sequence, .. } = candidate;
        let _busy = store.hold(id);
        let slot = store.index().at(sequence)?;
        let cannot_open = matches!(self.get(id), Ok(None) | Err(SpoolError::Damaged { .. }));
        let Slot::Row(row) = slot else {
            return Ok(false);
        };
        if !cannot_open || row.id != id {
            return Ok(false);
        }
        let header = match store.header(id) {
            Ok(Some(header)) if header.id == id => Header { sequence, ..header },
            _ => Header {
                id,
                sequence,
                // No body has this digest.
                digest: [0; 32],
                body_len: 0,
                body_crc: 0,
                owner: row.owner,
            },
        };
        store
            .write_tombstone(&header)
            .and_then(|()| store.clear_away(&header))
            .map_err(SpoolError::unwritable("the tombstone"))?;
        tracing::error!(%id, why = reason, "deleted an expired execution that was damaged");
        Ok(true)
    }

    /// Returns the ended executions to delete next, oldest end first, and the disk space of all
    /// executions in bytes. The list has at most `BATCH` executions and none from `excluded`.
    fn oldest_ended(&self, excluded: &HashSet<Uuid>) -> Result<(Vec<Candidate>, u64), SpoolError> {
        let mut total = 0_u64;
        let mut heap: BinaryHeap<Candidate> = BinaryHeap::with_capacity(BATCH + 1);
        let mut live = Vec::new();
        self.store.index().scan(|sequence, slot| {
            let Slot::Row(Row { id, ended, .. }) = slot else {
                return true;
            };
            match ended {
                None => live.push(id),
                Some(EndFacts { at_ms, bytes }) => {
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
            total = total.saturating_add(disk_bytes(&self.store.folder(id)));
        }
        Ok((heap.into_sorted_vec(), total))
    }
}

/// An ended execution that may be deleted because of its age or of the disk space. The derived
/// order compares the time of the end first, so that the oldest end is deleted first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The time of the end, in milliseconds since the Unix epoch.
    at_ms: u64,
    /// The disk space of its files, in bytes.
    bytes: u64,
    /// The id of the execution.
    id: Uuid,
    /// The position of its row in the index.
    sequence: u64,
}
