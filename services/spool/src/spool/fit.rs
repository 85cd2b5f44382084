//! At the start the index is made to hold exactly the folders, and what a power cut left of an acceptance is removed.

use std::time::UNIX_EPOCH;

use super::*;
use crate::{
    entry::disk_bytes,
    files::{is_damage, last_change},
    index::IdSum,
    slots::Slots,
};

impl Shared {
    /// Where the index fits, this reads it, the folders' names and the records that have not ended, no more.
    pub(super) fn fit_index(&self) -> io::Result<()> {
        let index = self.index();
        let (mut damaged, mut unpromised) = (Vec::new(), Vec::new());
        let mut indexed = IdSum::default();
        index.scan(|sequence, slot| {
            match slot {
                Slot::Free => {}
                Slot::Damaged => damaged.push(sequence),
                // What cannot be read now is no proof that it was not promised.
                Slot::Row(Row { id, ended: None })
                    if !record::is_whole(&self.folder(id)).unwrap_or(true) =>
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
        tracing::warn!("the spool's index does not fit its folders and is mended");
        for sequence in damaged {
            index.clear(sequence)?;
        }
        self.mend(&index)
    }

    /// Takes away rows without a folder and adds those that are missing, which a power cut can have taken. An id in memory
    /// for each row, as long as this lasts.
    fn mend(&self, index: &Index) -> io::Result<()> {
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
    if !record::is_whole(folder)? {
        return forget_unpromised(folder);
    }
    let path = folder.join("record");
    let record = File::open(&path)?;
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

/// Removes what there is of an acceptance that nobody was told of. Cut off, it goes on at the next start.
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
