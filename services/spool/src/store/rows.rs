//! Finds the index rows of single executions, and writes the end of an execution to its row.

use std::io;

use uuid::Uuid;

use super::Store;
use crate::{
    files::is_damage,
    index::{EndFacts, Row, Slot},
    owner::Owner,
    record::Header,
};

impl Store {
    /// Whether the index says that this execution has ended. If its record file has no terminal
    /// status then, the status is damaged.
    pub(crate) fn is_ended_in_index(&self, header: &Header) -> io::Result<bool> {
        let slot = self.index().at(header.sequence)?;
        Ok(matches!(slot, Slot::Row(Row { id, ended: Some(_), .. }) if id == header.id))
    }

    /// Searches the whole index for the position and the owner of the execution `id`. `None` if it
    /// has no row. Needed only if the header of its record, which has both too, is damaged.
    pub(crate) fn find_in_index(&self, id: Uuid) -> io::Result<Option<(u64, Owner)>> {
        let mut place = None;
        self.index().scan(|sequence, slot| {
            match slot {
                Slot::Row(row) if row.id == id => place = Some((sequence, row.owner)),
                Slot::Row(_) | Slot::Free | Slot::Damaged => {}
            }
            place.is_none()
        })?;
        Ok(place)
    }

    /// Returns the position in the index and the owner of an execution that exists or was deleted
    /// within 30 days. `None` for any other id.
    pub(crate) fn place_of(&self, id: Uuid) -> io::Result<Option<(u64, Owner)>> {
        let header = match self.header(id) {
            Ok(None) => Header::read_path(&self.tombstone_path(id)),
            header => header,
        };
        match header {
            Err(error) if is_damage(&error) => self.find_in_index(id),
            header => Ok(header?.map(|header| (header.sequence, header.owner))),
        }
    }

    /// Writes the time of the end and the disk space of an execution to its index row, where
    /// deletion by age and size reads them. Does nothing if the execution was deleted. An error is
    /// only logged, because the next start repairs the index.
    pub(crate) fn note_end(&self, header: &Header, ended: EndFacts) {
        let index = self.index();
        // Deletion holds the same lock: a row that it cleared must not be written again.
        if self.has_record(header.id)
            && let Err(error) = index.put(
                header.sequence,
                &Row {
                    id: header.id,
                    owner: header.owner,
                    ended: Some(ended),
                },
            )
        {
            tracing::warn!(
                %error, id = %header.id,
                "could not write the end of an execution to the spool's index; the next start \
                 repairs the index"
            );
        }
    }
}
