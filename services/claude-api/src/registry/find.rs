//! Lookup of executions on disk by their ids, and lists of executions in the order of acceptance.

use protocol::ExecutionId;
use spool::{Entry, SpoolError};

use super::Registry;
use super::error::RegistryError;

/// The result of looking up an execution's id. `T` is the value that describes a known execution:
/// its files on disk, or a live handle to it.
#[derive(Clone)]
pub enum Lookup<T = Entry> {
    /// The id belongs to an execution, running or ended.
    Found(T),
    /// The id belonged to an execution that was deleted less than 30 days ago.
    Deleted,
    /// The id was cancelled before it was accepted, less than an hour ago; it cannot be accepted
    /// now.
    Burned,
    /// No execution has this id: it was never accepted, or all records of it have expired.
    Unknown,
}

impl<T> Lookup<T> {
    /// Returns the value of a known execution; `None` if the id is deleted, burned or unknown.
    #[must_use]
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Deleted | Self::Burned | Self::Unknown => None,
        }
    }

    /// Converts the value of a known execution with `change`. All other results stay as they are.
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

/// One page of the list of executions on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The ids of the executions, the most recently accepted first.
    pub ids: Vec<ExecutionId>,
    /// The value of `before` with which [`Registry::page`] returns the next page: the last id of
    /// this one. `None` on the last page.
    pub next: Option<ExecutionId>,
}

/// The reason why [`Registry::page`] could not list executions.
#[derive(Debug, thiserror::Error)]
pub enum NotListed {
    /// No record of the execution `before` exists, so its position in the list is unknown: its id
    /// was never accepted, or all records of it have expired.
    #[error("no execution {0} to list before")]
    UnknownBefore(ExecutionId),
    /// The list could not be read, because the disk failed.
    #[error(transparent)]
    Failed(RegistryError),
}

impl Registry {
    /// Looks up an id among the executions on disk, the deleted ones and the burned ids. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The record exists but cannot be read: a disk error, or a damaged record. An error never
    /// means that the id is unknown; that is [`Lookup::Unknown`].
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

    /// Returns one page of the list of executions: at most `limit` ids of executions that were
    /// accepted before the execution `before`, newest first. Without `before`, the page begins with
    /// the newest execution. Blocks on the disk.
    ///
    /// # Errors
    /// The execution `before` is unknown, or the disk failed (see [`NotListed`]).
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

    /// Lists the executions that have no terminal status on disk, in the order of acceptance. The
    /// start of the service uses it to recover them. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error.
    pub fn unfinished(&self) -> Result<Vec<ExecutionId>, RegistryError> {
        let ids = self.spool.unfinished()?;
        Ok(ids.into_iter().map(Into::into).collect())
    }
}
