//! Lists of executions: pages for clients, and the unfinished ones for the start of the service.

use uuid::Uuid;

use super::Spool;
use crate::{
    error::SpoolError,
    index::{Row, Slot},
};

/// One page of the list of executions that clients can read, newest acceptance first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The ids on this page.
    pub ids: Vec<Uuid>,
    /// The id to pass as `before` for the next page; None if no older execution exists.
    pub next: Option<Uuid>,
}

impl Spool {
    /// Returns a page of at most `limit` ids that were accepted earlier than the execution
    /// `before`, newest acceptance first. `before` may have been deleted; None begins at the
    /// newest.
    ///
    /// # Errors
    /// `UnknownBefore` if `before` is not known, or the disk's.
    pub fn page(&self, before: Option<Uuid>, limit: usize) -> Result<Page, SpoolError> {
        let store = &self.store;
        let end = match before {
            None => u64::MAX,
            Some(id) => store
                .sequence_of(id)?
                .ok_or(SpoolError::UnknownBefore(id))?,
        };
        let mut page = Page {
            ids: Vec::new(),
            next: None,
        };
        store.index().scan_back(end, |row| {
            // The row may belong to an acceptance or a deletion in progress.
            if store.has_record(row.id) {
                if page.ids.len() == limit {
                    page.next = page.ids.last().copied();
                    return false;
                }
                page.ids.push(row.id);
            }
            true
        })?;
        Ok(page)
    }

    /// Returns the executions that have no terminal (final) status, in order of acceptance, so that
    /// a start of the service can end or continue them. Damaged executions are included.
    ///
    /// # Errors
    /// The disk's, while the index is read.
    pub fn unfinished(&self) -> Result<Vec<Uuid>, SpoolError> {
        let mut live = Vec::new();
        self.store.index().scan(|_, slot| {
            if let Slot::Row(Row { id, ended: None }) = slot {
                live.push(id);
            }
            true
        })?;
        let mut unfinished = Vec::new();
        for id in live {
            match self.get(id) {
                Ok(Some(entry)) if entry.is_terminal() => entry.note_size(),
                Ok(Some(_)) => unfinished.push(id),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(
                        %error, %id,
                        "could not read an execution in the spool; treating it as unfinished"
                    );
                    unfinished.push(id);
                }
            }
        }
        Ok(unfinished)
    }
}
