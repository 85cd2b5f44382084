//! Acceptance: an id is accepted once, and the execution is on disk before any answer or event.

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

/// The reason why an id was not accepted. No execution is created;
/// [`Registry::accept_continuation`] may have noted the id in the old record.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The id was accepted before.
    #[error("an execution with this id exists")]
    Exists,
    /// The id was accepted before, and its execution was deleted.
    #[error("the execution with this id was deleted")]
    Deleted,
    /// The id was cancelled before it was accepted.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The disk failed, or a record is damaged.
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

/// An execution that is in the queue, but not on disk yet.
#[derive(Debug)]
pub struct Admitted {
    /// The status to record: running if the execution has its permit already.
    pub status: Status,
    /// The execution's membership in the queue. Dropping it makes the execution leave the queue.
    pub ticket: Ticket,
}

impl Registry {
    /// Puts an execution into its reserved slot of the queue, before the execution is on disk.
    /// Returns the first status to record: `running` if the execution got its permit to run
    /// immediately, otherwise `queued`.
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

    /// Accepts an execution, whose record is on disk when this returns. `digest` is the SHA-256 of
    /// the body as the client sent it: a repeated request is recognised by it. `status` is the
    /// first status. Blocks on the disk.
    ///
    /// # Errors
    /// See [`NotAccepted`].
    pub fn accept(
        &self,
        id_lock: &IdLock,
        accepted: &Accepted,
        digest: [u8; 32],
        status: &Status,
    ) -> Result<Entry, NotAccepted> {
        self.create(id_lock.id(), accepted, digest, status)
    }

    /// Accepts a policy's continuation of `old`, whose end is not recorded yet. The new id is noted
    /// in the old execution's record first: a restart never creates a second continuation. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// See [`NotAccepted`]; the note may be on disk then.
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

    /// Locks continuations by request: while the guard is held, no other request continues an
    /// execution. Cancel safe.
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
        Ok(self.spool.create(id.uuid(), &body, digest, &record)?)
    }

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
