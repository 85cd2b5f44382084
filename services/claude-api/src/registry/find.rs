//! Lookup of executions on disk by their ids, and lists of executions in the order of acceptance.

use protocol::ExecutionId;
use spool::{Entry, Owner, SpoolError};

use super::Registry;
use super::error::RegistryError;

/// The result of looking up an execution's id. `T` is the value that describes a known execution:
/// its files on disk, or a live handle to it.
#[derive(Clone)]
pub enum Lookup<T = Entry> {
    /// The id belongs to an execution, running or ended.
    Found(T),
    /// The id belonged to an execution of this owner that was deleted less than 30 days ago.
    Deleted(Owner),
    /// No execution has this id: it was never accepted, or all records of it have expired.
    Unknown,
}

impl<T> Lookup<T> {
    /// Returns the value of a known execution; `None` if the id is deleted or unknown.
    #[must_use]
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Deleted(_) | Self::Unknown => None,
        }
    }

    /// Converts the value of a known execution with `change`. All other results stay as they are.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(found) => Lookup::Found(change(found)),
            Self::Deleted(owner) => Lookup::Deleted(owner),
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
    /// Looks up an id among the executions on disk and the deleted ones. Blocks on the disk.
    ///
    /// # Errors
    /// The record exists but cannot be read: a disk error, or a damaged record. An error never
    /// means that the id is unknown; that is [`Lookup::Unknown`].
    pub fn find(&self, id: ExecutionId) -> Result<Lookup, RegistryError> {
        if let Some(entry) = self.spool.get(id.uuid())? {
            return Ok(Lookup::Found(entry));
        }
        Ok(match self.spool.tombstone(id.uuid()) {
            Some(tombstone) => Lookup::Deleted(tombstone.owner),
            None => Lookup::Unknown,
        })
    }

    /// Returns whether a client of this owner cancelled the id before it was accepted, less than an
    /// hour ago. The owner's clients cannot use it now.
    #[must_use]
    pub fn is_burned(&self, id: ExecutionId, owner: Owner) -> bool {
        self.burned.contains(id, owner)
    }

    /// Reads the file with the shares of an execution. Empty if the execution has none, or does not
    /// exist. Blocks on the disk.
    ///
    /// # Errors
    /// A disk error.
    pub fn shares_of(&self, id: ExecutionId) -> std::io::Result<Vec<u8>> {
        self.spool.shares_of(id.uuid())
    }

    /// Returns one page of the list of executions: at most `limit` ids of executions that were
    /// accepted before the execution `before`, newest first. Without `before`, the page begins with
    /// the newest execution. With an `owner`, the page has only the executions of that owner, and
    /// `before` must be one of them. Blocks on the disk.
    ///
    /// # Errors
    /// The execution `before` is unknown, or the disk failed (see [`NotListed`]).
    pub fn page(
        &self,
        before: Option<ExecutionId>,
        limit: usize,
        owner: Option<Owner>,
    ) -> Result<Page, NotListed> {
        let before = before.map(ExecutionId::uuid);
        match self.spool.page(before, limit, owner) {
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
