//! Reading and writing the index rows of entries.

use std::io;

use uuid::Uuid;

use super::Store;
use crate::{
    files::is_damage,
    index::{Ended, Row, Slot},
    record::Header,
};

impl Store {
    /// Whether the index says that this execution ended.
    pub(crate) fn is_ended_in_index(&self, header: &Header) -> io::Result<bool> {
        let slot = self.index().at(header.sequence)?;
        Ok(matches!(slot, Slot::Row(Row { id, ended: Some(_) }) if id == header.id))
    }

    /// Returns an entry's position in the index. Reads the whole index, so it serves only entries
    /// with a damaged header.
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

    /// Returns the position of an existing or deleted entry in the list.
    pub(crate) fn sequence_of(&self, id: Uuid) -> io::Result<Option<u64>> {
        let header = match self.header(id) {
            Ok(None) => Header::read_path(&self.tombstone_path(id)),
            header => header,
        };
        match header {
            Err(error) if is_damage(&error) => self.sequence_in_index(id),
            header => Ok(header?.map(|header| header.sequence)),
        }
    }

    /// Writes the end of an execution to its row.
    pub(crate) fn note_end(&self, header: &Header, ended: Ended) {
        let index = self.index();
        // Deletion holds the same lock: a row that it cleared must not be written again.
        if self.has_record(header.id)
            && let Err(error) = index.put(
                header.sequence,
                &Row {
                    id: header.id,
                    ended: Some(ended),
                },
            )
        {
            tracing::warn!(
                %error, id = %header.id,
                "could not write the index; the next start repairs it"
            );
        }
    }
}
