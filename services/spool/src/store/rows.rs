//! The rows of entries in the index.

use std::io;

use uuid::Uuid;

use super::Store;
use crate::{
    files::is_damage,
    index::{Ended, Row, Slot},
    record::Header,
};

impl Store {
    /// Whether the index says that this entry ended.
    pub(crate) fn is_ended_in_index(&self, header: &Header) -> io::Result<bool> {
        let slot = self.index().at(header.sequence)?;
        Ok(matches!(slot, Slot::Row(Row { id, ended: Some(_) }) if id == header.id))
    }

    /// Returns an entry's position in the index. Reads the whole index: for entries with a damaged
    /// header.
    pub(crate) fn sequence_in_index(&self, id: Uuid) -> io::Result<Option<u64>> {
        let mut sequence = None;
        self.index().scan(|at, slot| {
            if matches!(slot, Slot::Row(row) if row.id == id) {
                sequence = Some(at);
            }
            sequence.is_none()
        })?;
        Ok(sequence)
    }

    /// Returns the position in the list of an entry or of a deleted one.
    pub(crate) fn sequence_of(&self, id: Uuid) -> io::Result<Option<u64>> {
        let header = match self.header(id) {
            Ok(None) => Header::read_path(&self.tombstone_path(id)),
            found => found,
        };
        match header {
            Err(error) if is_damage(&error) => self.sequence_in_index(id),
            header => Ok(header?.map(|header| header.sequence)),
        }
    }

    /// Notes the end of an entry in its row.
    pub(crate) fn note_end(&self, header: &Header, ended: Ended) {
        let index = self.index();
        // Deletion takes the lock too: a row that it cleared must not come back.
        if self.has_record(header.id)
            && let Err(error) = index.put(
                header.sequence,
                &Row {
                    id: header.id,
                    ended: Some(ended),
                },
            )
        {
            tracing::warn!(%error, id = %header.id, "the index could not be written; the next start repairs it");
        }
    }
}
