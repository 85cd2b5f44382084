//! Repairs the index, the file that lists the executions in order of acceptance, at the start of
//! the service. The index is made to match the folders, and acceptances that a power cut
//! interrupted are removed.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::Path,
    time::UNIX_EPOCH,
};

use uuid::Uuid;

use super::{Store, ids_in};
use crate::{
    files::{is_damage, last_change},
    folder::{disk_bytes, is_whole, record_path},
    index::{EndFacts, IdSum, Index, Row, Slot},
    owner::Owner,
    record::Header,
    slots::Slots,
};

impl Store {
    /// Makes the index file match the executions on disk after a crash. Removes executions whose
    /// acceptance was never confirmed to a client, and rows without an execution, and adds missing
    /// rows. If index and folders match already, this reads only the index, the names of the
    /// folders and the records of executions that have not ended.
    pub(super) fn repair_index(&self) -> io::Result<()> {
        let index = self.index();
        let (mut damaged, mut unpromised) = (Vec::new(), Vec::new());
        let mut indexed = IdSum::default();
        index.scan(|sequence, slot| {
            match slot {
                Slot::Free => {}
                Slot::Damaged => damaged.push(sequence),
                // An entry that cannot be read now may have been promised, so it stays.
                Slot::Row(Row {
                    id, ended: None, ..
                }) if !is_whole(&self.folder(id)).unwrap_or(true) => {
                    unpromised.push((sequence, id));
                }
                Slot::Row(row) => indexed.add(row.id),
            }
            true
        })?;
        for (sequence, id) in unpromised {
            index.clear(sequence)?;
            let folder = self.folder(id);
            if let Err(error) = forget_unpromised(&folder) {
                let folder = folder.display();
                tracing::error!(
                    %error, %folder,
                    "could not remove an execution whose acceptance was interrupted; the next \
                     start retries"
                );
            }
        }
        let mut on_disk = IdSum::default();
        for id in self.folders()? {
            on_disk.add(id?);
        }
        if damaged.is_empty() && indexed == on_disk {
            return Ok(());
        }
        tracing::warn!("the spool's index does not match its folders; repairing it");
        for sequence in damaged {
            index.clear(sequence)?;
        }
        self.refill(&index)
    }

    /// Clears index rows without an execution's folder, and adds rows for folders that have none
    /// because a power cut lost them. Holds the id of each row in memory while it runs.
    fn refill(&self, index: &Index) -> io::Result<()> {
        let mut rows = HashMap::new();
        let mut wrong = Vec::new();
        index.scan(|sequence, slot| {
            if let Slot::Row(row) = slot {
                wrong.extend(rows.insert(row.id, sequence));
            }
            true
        })?;
        let mut missing = Vec::new();
        for id in self.folders()? {
            let id = id?;
            if rows.remove(&id).is_none() {
                missing.push(id);
            }
        }
        for sequence in wrong.into_iter().chain(rows.into_values()) {
            index.clear(sequence)?;
        }
        for id in missing {
            let folder = self.folder(id);
            if let Err(error) = index_folder(index, id, &folder) {
                let folder = folder.display();
                tracing::error!(
                    %error, %folder,
                    "could not add an execution to the spool's index, so lists lack it; the next \
                     start retries"
                );
            }
        }
        index.sync()
    }

    /// Returns the ids of all executions that have a folder on disk, in no order.
    fn folders(&self) -> io::Result<impl Iterator<Item = io::Result<Uuid>>> {
        ids_in(&self.dir.join("executions"))
    }
}

/// Adds the missing index row of the execution `id`, or removes its folder if its acceptance was
/// interrupted and never confirmed to a client.
fn index_folder(index: &Index, id: Uuid, folder: &Path) -> io::Result<()> {
    if !is_whole(folder)? {
        return forget_unpromised(folder);
    }
    let record = File::open(record_path(folder))?;
    // A damaged header has no position and no owner. The entry is listed as the newest, so that it
    // can be ended and removed like all others. It is not among the executions of any principal.
    let (sequence, owner) = match Header::read(&record) {
        Ok(header) if header.id == id => (header.sequence, header.owner),
        Err(error) if !is_damage(&error) => return Err(error),
        _ => (index.positions()?, Owner::UNKNOWN),
    };
    let ended = Slots::load(&record)?.terminal().then(|| {
        let at_ms = record.metadata().map_or(0, |metadata| {
            last_change(&metadata)
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_millis() as u64)
        });
        EndFacts {
            at_ms,
            bytes: disk_bytes(folder),
        }
    });
    index.put(sequence, &Row { id, owner, ended })
}

/// Removes the folder of an acceptance that a power cut interrupted before it was confirmed to a
/// client. A missing folder counts as removed.
fn forget_unpromised(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        removed => {
            if removed.is_ok() {
                let folder = folder.display();
                tracing::warn!(
                    %folder,
                    "removed an execution whose acceptance a power cut interrupted; no client got \
                     a confirmation"
                );
            }
            Ok(())
        }
    }
}
