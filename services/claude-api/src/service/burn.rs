//! Burned ids: an id that is cancelled before it is accepted (`POST .../cancel?ifUnknown=burn`) is
//! refused for an hour. A bridge that gives up a `PUT` cannot know whether claude-api will still
//! read that `PUT`. So the bridge burns the id: a later `PUT` with it is refused.

use std::sync::Arc;
use std::time::SystemTime;

use protocol::{ExecutionId, Problem, ProblemType, Status};

use super::{Cancel, Service, deleted, problem};
use crate::registry::{IdLock, Lookup, NotBurned};

/// The outcome of [`Service::cancel_or_burn`].
#[derive(Debug)]
pub enum Burn {
    /// The id was known: the status after an ordinary cancel.
    Cancelled(Box<Status>),
    /// The id was unknown, or burned before: for an hour it cannot be accepted.
    Burned,
}

impl Service {
    /// Cancels an execution. An unknown id is burned instead: a later request to accept it is
    /// refused. A burn is on disk when this returns. The work completes even if the caller is
    /// dropped.
    ///
    /// # Errors
    /// `queue-full` if the queue, to which burned ids count, is full; `deleted`; a disk error; the
    /// errors of [`Service::cancel`].
    pub async fn cancel_or_burn(
        self: &Arc<Self>,
        id: ExecutionId,
        cancel: Cancel,
    ) -> Result<Burn, Problem> {
        let service = Arc::clone(self);
        let work = tokio::spawn(async move {
            // With the lock, an earlier acceptance of the same id has finished and can be
            // cancelled.
            let id_lock = service.engine.registry.lock_id(id).await;
            let view = match service.look_up(id).await? {
                Lookup::Found(view) => view,
                Lookup::Deleted => return Err(deleted(id)),
                Lookup::Burned | Lookup::Unknown => {
                    return service.burn(id_lock).await.map(|()| Burn::Burned);
                }
            };
            drop(id_lock);
            let status = service.cancel(&view, cancel).await?;
            Ok(Burn::Cancelled(Box::new(status)))
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(
                %error,
                "could not cancel or burn an id: its task panicked; answered with an error"
            );
            Err(Problem::new(
                ProblemType::Internal,
                "the cancel failed; the log of claude-api says why",
            ))
        })
    }

    /// Records the locked id, which is unknown or burned before, as burned for an hour from now.
    async fn burn(self: &Arc<Self>, id_lock: IdLock) -> Result<(), Problem> {
        let (service, id) = (Arc::clone(self), id_lock.id());
        match spool::blocking::run(move || service.engine.registry.burn(&id_lock)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotBurned::QueueFull(full))) => Err(Problem::new(
                ProblemType::QueueFull,
                format!("{full}; the cancel of {id} was not recorded; try again"),
            )
            .with("length", full.length())),
            Ok(Err(NotBurned::Deleted)) => Err(deleted(id)),
            Ok(Err(NotBurned::Failed(failure))) => Err(problem(&failure)),
            // Accepted ids were cancelled above, and the lock prevents an acceptance of this one.
            Ok(Err(NotBurned::Exists)) | Err(_) => {
                Err(Problem::new(ProblemType::Internal, "the cancel failed"))
            }
        }
    }

    /// Forgets the ids that were burned over an hour before `now`, which may then be accepted. Logs
    /// a failure.
    pub(super) async fn expire_burned(self: &Arc<Self>, now: SystemTime) {
        let service = Arc::clone(self);
        let expire = move || service.engine.registry.expire_burned(now);
        if let Ok(Err(error)) = spool::blocking::run(expire).await {
            tracing::warn!(
                %error,
                "could not remove ids that were burned over an hour ago; retrying in a minute"
            );
        }
    }
}

pub(super) fn burned(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::CancelledBeforeAccepted,
        format!("execution {id} was cancelled before it was accepted; choose a new id"),
    )
}

#[cfg(test)]
mod tests;
