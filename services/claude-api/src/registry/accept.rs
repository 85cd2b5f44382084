//! Acceptance: an id is accepted once, and the execution is on disk before anybody hears of it.

use std::sync::Arc;

use protocol::{ExecutionId, Status};
use spool::{Entry, SpoolError};
use tokio::sync::OwnedMutexGuard;

use super::Registry;
use super::admission::{Place, Ticket};
use super::error::RegistryError;
use super::record::{Accepted, Record, begin, first_status};
use super::turns::Turn;
use crate::times::Times;

/// The reason why an id was not accepted. No execution is created; [`Registry::accept_next`] may
/// have noted the id in the old record.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The id was accepted before.
    #[error("an execution with this id exists")]
    Exists,
    /// The id was accepted before, and its execution was deleted.
    #[error("the execution with this id was deleted")]
    Deleted,
    /// The id was cancelled before it was accepted.
    #[error("the execution with this id was cancelled before it was accepted")]
    Burned,
    /// The registry failed.
    #[error(transparent)]
    Failed(RegistryError),
}

impl From<SpoolError> for Refused {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Exists { .. } => Self::Exists,
            SpoolError::Deleted { .. } => Self::Deleted,
            SpoolError::Burned => Self::Burned,
            other => Self::Failed(other.into()),
        }
    }
}

/// An execution in the queue that is to be accepted.
#[derive(Debug)]
pub struct Admitted {
    /// The status to accept it with: running if it has its permit already.
    pub status: Status,
    /// Its membership in the queue. Dropping it leaves the queue.
    pub ticket: Ticket,
}

impl Registry {
    /// Puts an execution into the queue, before it is recorded. One that may run at once is
    /// accepted as running.
    #[must_use]
    pub fn admit(&self, turn: &Turn, place: Place, accepted: &Accepted) -> Admitted {
        let mut status = first_status(turn.id(), accepted);
        let mut ticket = place.enter(turn.id(), &accepted.conversation);
        if ticket.may_run() {
            let at = Times::following(&status).now();
            begin(&mut status, at);
        }
        Admitted { status, ticket }
    }

    /// Accepts an execution; it is on disk when this returns. `digest` is that of the body as the
    /// client sent it. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn accept(
        &self,
        turn: &Turn,
        accepted: &Accepted,
        digest: [u8; 32],
        status: &Status,
    ) -> Result<Entry, Refused> {
        self.create(turn.id(), accepted, digest, status)
    }

    /// Accepts the execution that a policy has continue `old`, which has no end yet. The new id is
    /// noted in the old execution's record first, so that a restart never creates a second
    /// continuation. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Refused`]; the note may be on disk then.
    pub fn accept_next(
        &self,
        old: &Entry,
        accepted: &Accepted,
        status: &Status,
    ) -> Result<Entry, Refused> {
        let id = status.execution_id;
        self.note_next(old, id).map_err(Refused::Failed)?;
        self.create(id, accepted, accepted.body.digest(), status)
    }

    /// Waits until no other request continues an execution. While the result is held, no execution
    /// gets a second continuation by request. Cancel safe.
    pub async fn hold_continuations(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.continuing).lock_owned().await
    }

    fn create(
        &self,
        id: ExecutionId,
        accepted: &Accepted,
        digest: [u8; 32],
        status: &Status,
    ) -> Result<Entry, Refused> {
        let record = Record::encode(status, None, self.status_bytes);
        let body = serde_json::to_vec(accepted).map_err(|error| {
            Refused::Failed(RegistryError::Unwritable {
                what: "the body",
                source: error.into(),
            })
        })?;
        Ok(self.spool.create(id.uuid(), &body, digest, &record)?)
    }

    fn note_next(&self, old: &Entry, next: ExecutionId) -> Result<(), RegistryError> {
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
