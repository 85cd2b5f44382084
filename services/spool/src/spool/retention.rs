//! Deletes ended executions because of their age and of the disk space that all executions use,
//! oldest end first. When space is short, executions of the owner who uses most are deleted.
//!
//! An execution that cannot be deleted is logged, and the pass continues with the others. If a
//! record file is damaged, the file that remembers the deletion (tombstone) is made from the index
//! row.

use std::{
    collections::{BinaryHeap, HashMap, HashSet},
    sync::atomic::Ordering,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::Spool;
use crate::{
    error::SpoolError,
    folder::disk_bytes,
    index::{EndFacts, Row, Slot},
    owner::Owner,
    record::Header,
};

/// The most executions that one scan of the index chooses for deletion (256). It bounds the memory
/// that a scan needs; more are deleted by further scans.
const BATCH: usize = 256;

impl Spool {
    /// Deletes executions that ended longer ago than the configured retention time. Then deletes
    /// more ended executions until all executions fit into the configured disk space: each time the
    /// oldest one of the owner who uses most. Queued and running executions use space but are never
    /// deleted. Returns the ids of the deleted executions.
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
            let mut usage = self.usage(&stuck)?;
            let limit = self.store.limits.retention_bytes;
            let crowding = (usage.total > limit).then(|| usage.largest()).flatten();
            let is_old = |at_ms: u64| at_ms.saturating_add(keep_ms) < now_ms;
            let oldest = self.oldest_ended(&stuck, |row_owner, at_ms| {
                is_old(at_ms) || crowding == Some(row_owner)
            })?;
            let handled_before = deleted.len() + stuck.len();
            for candidate in oldest {
                let fits = usage.total <= limit || usage.largest() != Some(candidate.owner);
                if !is_old(candidate.at_ms) && fits {
                    continue;
                }
                match self.remove(&candidate) {
                    Ok(removed) => {
                        usage.remove(candidate.owner, candidate.bytes);
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
                        usage.exclude(candidate.owner, candidate.bytes);
                        stuck.insert(candidate.id);
                    }
                }
            }
            let measured = &self.store.measured_bytes;
            measured.store(usage.total, Ordering::Relaxed);
            let progress = deleted.len() + stuck.len() > handled_before;
            if !progress || stuck.len() >= BATCH {
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

    /// Measures the disk space of all executions by owner. Those in `excluded` count, but cannot be
    /// deleted.
    fn usage(&self, excluded: &HashSet<Uuid>) -> Result<Usage, SpoolError> {
        let mut usage = Usage::default();
        let mut live = Vec::new();
        self.store.index().scan(|_, slot| {
            let Slot::Row(Row { id, owner, ended }) = slot else {
                return true;
            };
            match ended {
                None => live.push((id, owner)),
                Some(EndFacts { bytes, .. }) => {
                    let deletable = if excluded.contains(&id) { 0 } else { bytes };
                    usage.add(owner, bytes, deletable);
                }
            }
            true
        })?;
        for (id, owner) in live {
            usage.add(owner, disk_bytes(&self.store.folder(id)), 0);
        }
        Ok(usage)
    }

    /// Returns the ended executions that `is_due` chooses by owner and end, oldest end first. The
    /// list has at most `BATCH` executions and none from `excluded`.
    fn oldest_ended(
        &self,
        excluded: &HashSet<Uuid>,
        is_due: impl Fn(Owner, u64) -> bool,
    ) -> Result<Vec<Candidate>, SpoolError> {
        let mut heap: BinaryHeap<Candidate> = BinaryHeap::with_capacity(BATCH + 1);
        self.store.index().scan(|sequence, slot| {
            if let Slot::Row(Row {
                id,
                owner,
                ended: Some(EndFacts { at_ms, bytes }),
            }) = slot
                && is_due(owner, at_ms)
                && !excluded.contains(&id)
            {
                heap.push(Candidate {
                    at_ms,
                    bytes,
                    id,
                    sequence,
                    owner,
                });
                if heap.len() > BATCH {
                    heap.pop();
                }
            }
            true
        })?;
        Ok(heap.into_sorted_vec())
    }
}

/// The disk space that executions use, by owner.
#[derive(Debug, Default)]
struct Usage {
    /// The space of all executions, in bytes.
    total: u64,
    /// For each owner the space of its executions, and the part of it that can be freed, in bytes.
    by_owner: HashMap<Owner, (u64, u64)>,
}

impl Usage {
    fn add(&mut self, owner: Owner, bytes: u64, deletable: u64) {
        self.total = self.total.saturating_add(bytes);
        let (used, free) = self.by_owner.entry(owner).or_default();
        *used = used.saturating_add(bytes);
        *free = free.saturating_add(deletable);
    }

    /// Subtracts an execution that was deleted.
    fn remove(&mut self, owner: Owner, bytes: u64) {
        self.total = self.total.saturating_sub(bytes);
        self.exclude(owner, bytes);
        if let Some((used, _)) = self.by_owner.get_mut(&owner) {
            *used = used.saturating_sub(bytes);
        }
    }

    /// Marks an execution as one that cannot be deleted now.
    fn exclude(&mut self, owner: Owner, bytes: u64) {
        if let Some((_, free)) = self.by_owner.get_mut(&owner) {
            *free = free.saturating_sub(bytes);
        }
    }

    /// Returns the owner that uses most space, among those of whom something can be deleted. When
    /// space is short, its executions are deleted. So nobody pushes out the executions of another
    /// owner who uses less.
    fn largest(&self) -> Option<Owner> {
        let deletable = self.by_owner.iter().filter(|(_, (_, free))| *free > 0);
        let largest = deletable.max_by_key(|(owner, (used, _))| (*used, *owner.as_bytes()));
        largest.map(|(owner, _)| *owner)
    }
}

/// An ended execution that may be deleted because of its age or of the disk space. The order
/// compares the time of the end first, so that the oldest end is deleted first.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    /// The time of the end, in milliseconds since the Unix epoch.
    at_ms: u64,
    /// The disk space of its files, in bytes.
    bytes: u64,
    /// The id of the execution.
    id: Uuid,
    /// The position of its row in the index.
    sequence: u64,
    /// The owner of the execution.
    owner: Owner,
}

impl Candidate {
    /// Returns the values by which candidates are ordered.
    fn order(&self) -> (u64, u64) {
        (self.at_ms, self.sequence)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}
