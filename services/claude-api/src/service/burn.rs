//! Burned ids. An id that is cancelled before it is accepted (`POST .../cancel?ifUnknown=burn`) is
//! burned, which means that it is refused for an hour.
//!
//! The bridge needs this. When it gives up a `PUT`, it cannot know whether claude-api will still
//! read that `PUT`. Burning the id makes sure that the execution does not start later.

use std::sync::Arc;
use std::time::SystemTime;

use protocol::{ExecutionId, Problem, ProblemType};
use spool::Owner;

use super::find::visible;
use super::visible_status::VisibleStatus;
use super::{Cancel, Service, deleted, problem, queue_full};
use crate::access::{Caller, Right};
use crate::registry::{IdLock, Lookup, NotBurned};

/// The result of `Service::cancel_or_burn`, depending on whether the id was known.
#[derive(Debug)]
pub enum Burn {
    /// An execution with this id exists. It was cancelled as usual and has this status.
    Cancelled(Box<VisibleStatus>),
    /// No execution has this id. It was burned, so it cannot be accepted for an hour from now.
    Burned,
}

impl Service {
    /// Cancels the execution `id`. If no execution has this id, burns it: a request that arrives
    /// later cannot start the execution for an hour. A burn is on disk when this returns. The work
    /// completes even if the caller is dropped.
    ///
    /// # Errors
    /// 403 `forbidden`; 404 `not-found` for an execution of another principal; 503 `queue-full` if
    /// a burned id gets no slot of the queue; 410 `deleted`; a disk error; and the errors of
    /// [`Service::cancel`].
    pub(crate) async fn cancel_or_burn(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
        cancel: Cancel,
    ) -> Result<Burn, Problem> {
        caller.check(Right::Control)?;
        let (service, caller) = (Arc::clone(self), caller.clone());
        let work = tokio::spawn(async move {
            // With the lock, an earlier acceptance of the same id has finished and can be
            // cancelled.
            let id_lock = service.engine.registry.lock_id(id).await;
            let view = match service.look_up(id).await? {
                // A share burns nothing: its execution was deleted.
                Lookup::Unknown if caller.check(Right::Own).is_ok() => {
                    let owner = caller.owner();
                    return service.burn(id_lock, owner).await.map(|()| Burn::Burned);
                }
                known => visible(known, &caller, id)?,
            };
            drop(id_lock);
            let status = service.cancel(&caller, &view, cancel).await?;
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

    /// Writes to disk that the locked id is burned for an hour from now. No execution has the id;
    /// it may be burned already. Fails with the problem for the client.
    async fn burn(self: &Arc<Self>, id_lock: IdLock, owner: Owner) -> Result<(), Problem> {
        let (service, id) = (Arc::clone(self), id_lock.id());
        match spool::blocking::run(move || service.engine.registry.burn(&id_lock, owner)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotBurned::QueueFull(full))) => {
                let detail = format!("{full}; the cancel of {id} was not recorded; try again");
                Err(queue_full(&full, detail))
            }
            Ok(Err(NotBurned::Deleted)) => Err(deleted(id)),
            Ok(Err(NotBurned::Failed(failure))) => Err(problem(&failure)),
            // Accepted ids were cancelled above, and the lock prevents an acceptance of this one.
            Ok(Err(NotBurned::Exists)) | Err(_) => {
                Err(Problem::new(ProblemType::Internal, "the cancel failed"))
            }
        }
    }

    /// Removes the ids that were burned over an hour before `now`, so that they may be accepted
    /// again. A failure is logged; the next pass, a minute later, retries.
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

/// Returns the problem 410 `cancelled-before-accepted`, for a burned id.
pub(super) fn burned(id: ExecutionId) -> Problem {
    Problem::new(
        ProblemType::CancelledBeforeAccepted,
        format!("execution {id} was cancelled before it was accepted; choose a new id"),
    )
}

#[cfg(test)]
mod tests;
