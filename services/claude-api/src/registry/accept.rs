//! Acceptance of executions. An id is accepted at most once, and the execution is on disk before a
//! client gets any answer or event.

use std::sync::Arc;

use protocol::{ExecutionId, Status};
use spool::{Entry, SpoolError};
use tokio::sync::OwnedMutexGuard;

use super::Registry;
use super::admission::{Reservation, Ticket};
use super::error::RegistryError;
use super::id_locks::IdLock;
use super::record::{Accepted, Record, begin, first_status};
use crate::times::Times;

/// The reason why an execution was not accepted. It was not created on disk. After a failed
/// [`Registry::accept_continuation`], the record of the old execution may still name the new id.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// An execution with this id exists already.
    #[error("an execution with this id exists")]
    Exists,
    /// An execution with this id existed and was deleted.
    #[error("the execution with this id was deleted")]
    Deleted,
    /// The id was cancelled before it was accepted, less than an hour ago.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The disk failed, or a record on it is damaged.
    #[error(transparent)]
    Failed(RegistryError),
}

impl From<SpoolError> for NotAccepted {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Exists { .. } => Self::Exists,
            SpoolError::Deleted { .. } => Self::Deleted,
            SpoolError::Burned => Self::Burned,
            other => Self::Failed(other.into()),
        }
    }
}

/// An execution that has entered the queue, but is not on disk yet.
#[derive(Debug)]
pub struct Admitted {
    /// The first status to write to disk: `running` if the execution may start immediately,
    /// otherwise `queued`.
    pub status: Status,
    /// The execution's place in the queue, and later its permit to run. Dropping it removes the
    /// execution from the queue, which undoes the admission if the write to disk fails.
    pub ticket: Ticket,
}

impl Registry {
    /// Puts an execution into the queue, in the slot that `reservation` holds, before the execution
    /// is on disk. The returned status is `running` if the execution may start immediately,
    /// otherwise `queued`.
    #[must_use]
    pub fn admit(
        &self,
        id_lock: &IdLock,
        reservation: Reservation,
        accepted: &Accepted,
    ) -> Admitted {
        let mut status = first_status(id_lock.id(), accepted);
        let mut ticket = reservation.enter(id_lock.id(), &accepted.conversation);
        if ticket.may_run() {
            let at = Times::following(&status).now();
            begin(&mut status, at);
        }
        Admitted { status, ticket }
    }

    /// Creates an accepted execution on disk; its files are durable when this returns. `digest` is
    /// the SHA-256 of the client's body, by which a repetition of the request is recognised.
    /// `status` is the execution's first status. Blocks on the disk.
    ///
    /// # Errors
    /// The id exists, was deleted or burned, or the disk failed (see [`NotAccepted`]).
    pub fn accept(
        &self,
        id_lock: &IdLock,
        accepted: &Accepted,
        digest: [u8; 32],
        status: &Status,
    ) -> Result<Entry, NotAccepted> {
        self.create(id_lock.id(), accepted, digest, status)
    }

    /// Creates the execution that a policy starts to continue `old`, whose terminal status is not
    /// on disk yet. The new id is first written into the record of `old`, so a restart never
    /// creates a second continuation. Blocks on the disk.
    ///
    /// # Errors
    /// The disk failed, or the new id exists (see [`NotAccepted`]). The record of `old` may name
    /// the new id then.
    pub fn accept_continuation(
        &self,
        old: &Entry,
        accepted: &Accepted,
        status: &Status,
    ) -> Result<Entry, NotAccepted> {
        let id = status.execution_id;
        self.note_continuation(old, id)
            .map_err(NotAccepted::Failed)?;
        self.create(id, accepted, accepted.body.digest(), status)
    }

    /// Waits until no other request is continuing an execution, and locks continuations until the
    /// guard is dropped. It prevents two requests from continuing the same execution. Cancel safe.
    pub async fn lock_continuations(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.continuations).lock_owned().await
    }

    fn create(
        &self,
        id: ExecutionId,
        accepted: &Accepted,
        digest: [u8; 32],
        status: &Status,
    ) -> Result<Entry, NotAccepted> {
        let record = Record::encode(status, None, self.status_bytes);
        let body = serde_json::to_vec(accepted).map_err(|error| {
            NotAccepted::Failed(RegistryError::Unwritable {
                what: "the body",
                source: error.into(),
            })
        })?;
        let owner = accepted.owner();
        Ok(self
            .spool
            .create(id.uuid(), &body, digest, &record, owner)?)
    }

    /// Writes into the record of `old`, durably, that the execution `next` continues it.
    fn note_continuation(&self, old: &Entry, next: ExecutionId) -> Result<(), RegistryError> {
        let note = || {
            let mut record = Record::decode(&old.status()?).map_err(std::io::Error::other)?;
            record.status.continued_by = Some(next);
            let json = Record::encode(&record.status, record.cli.as_ref(), self.status_bytes);
            old.write_status(&json, true)
        };
        note().map_err(|source| RegistryError::Unwritable {
            what: "the continuation's id",
            source,
        })
    }
}
