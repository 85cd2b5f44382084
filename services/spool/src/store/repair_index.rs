//! The repair of the index at the start: it is made to hold exactly the folders, and the rest of an
//! acceptance after a power cut is removed.

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
    index::{Ended, IdSum, Index, Row, Slot},
    record::Header,
    slots::Slots,
};

impl Store {
    /// Repairs the index. If it fits the folders, this reads only the index, the folders' names and
    /// the records that have not ended.
    pub(super) fn repair_index(&self) -> io::Result<()> {
        let index = self.index();
        let (mut damaged, mut unpromised) = (Vec::new(), Vec::new());
        let mut indexed = IdSum::default();
        index.scan(|sequence, slot| {
            match slot {
                Slot::Free => {}
                Slot::Damaged => damaged.push(sequence),
                // What cannot be read now is no proof that it was not promised.
                Slot::Row(Row { id, ended: None })
                    if !is_whole(&self.folder(id)).unwrap_or(true) =>
                {
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
                tracing::error!(%error, %folder, "could not remove a left-over");
            }
        }
        let mut there = IdSum::default();
        for id in self.folders()? {
            there.add(id?);
        }
        if damaged.is_empty() && indexed == there {
            return Ok(());
        }
        tracing::warn!("the spool's index does not fit its folders and is repaired");
        for sequence in damaged {
            index.clear(sequence)?;
        }
        self.refill(&index)
    }

    /// Clears the rows without a folder, and adds the rows that a power cut took. Meanwhile an id
    /// of each row is in memory.
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
                tracing::error!(%error, folder = %folder.display(), "an execution in the spool is damaged");
            }
        }
        index.sync()
    }

    fn folders(&self) -> io::Result<impl Iterator<Item = io::Result<Uuid>>> {
        ids_in(&self.dir.join("executions"))
    }
}

fn index_folder(index: &Index, id: Uuid, folder: &Path) -> io::Result<()> {
    if !is_whole(folder)? {
        return forget_unpromised(folder);
    }
    let record = File::open(record_path(folder))?;
    // A damaged header has no position: the entry is listed with the newest, so that it can be
    // ended and removed like all others.
    let sequence = match Header::read(&record) {
        Ok(header) if header.id == id => header.sequence,
        Err(error) if !is_damage(&error) => return Err(error),
        _ => index.positions()?,
    };
    let ended = Slots::load(&record)?.terminal().then(|| {
        let at_ms = record.metadata().map_or(0, |found| {
            last_change(&found)
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_millis() as u64)
        });
        Ended {
            at_ms,
            bytes: disk_bytes(folder),
        }
    });
    index.put(sequence, &Row { id, ended })
}

/// Removes the rest of an acceptance that was never answered. The next start continues after a
/// crash.
fn forget_unpromised(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        removed => {
            if removed.is_ok() {
                tracing::warn!(folder = %folder.display(), "removed what a power cut left of an acceptance that was never answered");
            }
            Ok(())
        }
    }
}
