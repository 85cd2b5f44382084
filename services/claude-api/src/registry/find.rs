//! Lookup of an execution by its id, and lists of executions in the order of acceptance.

use protocol::ExecutionId;
use spool::{Entry, SpoolError};

use super::Registry;
use super::error::RegistryError;

/// The answer to whether an id exists. `T` is what describes the execution: its files on disk, or a
/// view of them.
#[derive(Clone)]
pub enum Lookup<T = Entry> {
    /// The id was accepted.
    Found(T),
    /// The id was accepted and its execution deleted; the id is refused for 30 days after that.
    Deleted,
    /// The id was cancelled before it was accepted.
    Burned,
    /// The id was never accepted, or all records of it have expired.
    Unknown,
}

impl<T> Lookup<T> {
    /// Returns the execution; `None` if the id is deleted, burned or unknown.
    #[must_use]
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Deleted | Self::Burned | Self::Unknown => None,
        }
    }

    /// Applies `change` to the execution, if there is one.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(found) => Lookup::Found(change(found)),
            Self::Deleted => Lookup::Deleted,
            Self::Burned => Lookup::Burned,
            Self::Unknown => Lookup::Unknown,
        }
    }
}

/// One page of the list of executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The ids of the page, newest acceptance first.
    pub ids: Vec<ExecutionId>,
    /// The value of `before` for the next page; `None` on the last page.
    pub next: Option<ExecutionId>,
}

/// The error of [`Registry::page`].
#[derive(Debug, thiserror::Error)]
pub enum NotListed {
    /// The id to list before was never accepted, or all records of it have expired.
    #[error("no execution {0} to list before")]
    UnknownBefore(ExecutionId),
    /// The disk failed.
    #[error(transparent)]
    Failed(RegistryError),
}

impl Registry {
    /// Looks up an id among the records on disk and the burned ids. Blocks on the disk.
    ///
    /// # Errors
    /// The registry cannot read the record. This is never reported as [`Lookup::Unknown`].
    pub fn find(&self, id: ExecutionId) -> Result<Lookup, RegistryError> {
        if let Some(entry) = self.spool.get(id.uuid())? {
            return Ok(Lookup::Found(entry));
        }
        if self.spool.tombstone(id.uuid()).is_some() {
            return Ok(Lookup::Deleted);
        }
        Ok(match self.burned.contains(id) {
            true => Lookup::Burned,
            false => Lookup::Unknown,
        })
    }

    /// Lists at most `limit` executions that were accepted before the execution `before`, newest
    /// first. Without `before`, the list begins with the newest execution. Blocks on the disk.
    ///
    /// # Errors
    /// See [`NotListed`].
    pub fn page(&self, before: Option<ExecutionId>, limit: usize) -> Result<Page, NotListed> {
        match self.spool.page(before.map(ExecutionId::uuid), limit) {
            Ok(page) => Ok(Page {
                ids: page.ids.into_iter().map(Into::into).collect(),
                next: page.next.map(Into::into),
            }),
            Err(SpoolError::UnknownBefore(id)) => Err(NotListed::UnknownBefore(id.into())),
            Err(error) => Err(NotListed::Failed(error.into())),
        }
    }

    /// Lists the executions that have not ended, in the order of acceptance, for the recovery at
    /// the start. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error.
    pub fn unfinished(&self) -> Result<Vec<ExecutionId>, RegistryError> {
        let ids = self.spool.unfinished()?;
        Ok(ids.into_iter().map(Into::into).collect())
    }
}
