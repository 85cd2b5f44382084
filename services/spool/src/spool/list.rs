//! Lists of the executions on disk: pages for clients, and the unfinished ones for the start of the
//! service.

use uuid::Uuid;

use super::Spool;
use crate::{
    error::SpoolError,
    index::{Row, Slot},
    owner::Owner,
};

/// One page of the list of stored executions, newest acceptance first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The ids of the executions on this page, newest acceptance first.
    pub ids: Vec<Uuid>,
    /// The id to pass as `before` to get the next page; `None` if this is the last page.
    pub next: Option<Uuid>,
}

impl Spool {
    /// Returns the ids of at most `limit` executions, newest acceptance first. With `before`, the
    /// page has only executions accepted earlier than that one, which may have been deleted in the
    /// meantime. With `None`, the page begins at the newest execution.
    ///
    /// With `owner`, the page has only the executions of this owner. An owner with few executions
    /// costs a scan of the whole index, but no folder of another owner is opened.
    ///
    /// # Errors
    /// `UnknownBefore` if `before` is no stored execution and none deleted within 30 days, or one
    /// of another owner. `Io` if the disk cannot be read.
    pub fn page(
        &self,
        before: Option<Uuid>,
        limit: usize,
        owner: Option<Owner>,
    ) -> Result<Page, SpoolError> {
        let store = &self.store;
        let is_listed = |of: Owner| owner.is_none_or(|owner| owner == of);
        let end = match before {
            None => u64::MAX,
            Some(id) => match store.place_of(id)? {
                Some((sequence, of)) if is_listed(of) => sequence,
                Some(_) | None => return Err(SpoolError::UnknownBefore(id)),
            },
        };
        let mut page = Page {
            ids: Vec::new(),
            next: None,
        };
        store.index().scan_back(end, |row| {
            // The row may belong to an acceptance or a deletion in progress.
            if is_listed(row.owner) && store.has_record(row.id) {
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

    /// Returns the ids of all executions without a terminal (final) status, in order of acceptance.
    /// The service calls this at its start, to end or continue them. An execution that cannot be
    /// read is logged and counts as unfinished.
    ///
    /// # Errors
    /// `Io` if the index, the file that lists the executions, cannot be read.
    pub fn unfinished(&self) -> Result<Vec<Uuid>, SpoolError> {
        let mut live = Vec::new();
        self.store.index().scan(|_, slot| {
            if let Slot::Row(Row {
                id, ended: None, ..
            }) = slot
            {
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
