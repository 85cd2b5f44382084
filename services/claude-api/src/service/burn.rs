//! Burned ids: `POST .../cancel?ifUnknown=burn`. A bridge that gives up a `PUT` cannot know whether
//! claude-api still reads that `PUT` later. It burns the id: an unknown id is recorded as
//! cancelled, and a later `PUT` of it is refused.

use std::sync::Arc;
use std::time::SystemTime;

use protocol::{ExecutionId, Problem, ProblemType, Status};
use spool::SpoolError;

use super::{Cancel, Service, deleted, spool_problem};

/// The outcome of a cancel that may burn the id.
#[derive(Debug)]
pub enum Burn {
    /// The id was known: the ordinary cancel's answer.
    Cancelled(Box<Status>),
    /// The id was unknown and is burned now, or was burned before.
    Burned,
}

impl Service {
    /// Cancels an execution, or burns an id that is not known. The record is on disk when this
    /// returns, and is made even if the caller goes away.
    ///
    /// # Errors
    /// `queue-full` when there is no place for another burned id; `deleted`; what
    /// [`Service::cancel`] may say.
    pub async fn cancel_or_burn(
        self: &Arc<Self>,
        id: ExecutionId,
        cancel: Cancel,
    ) -> Result<Burn, Problem> {
        let service = Arc::clone(self);
        let work = tokio::spawn(async move {
            // An earlier acceptance of the same id has finished by then, and is cancelled.
            let id_guard = service.one_at_a_time(id).await;
            let view = match service.look_up(id).await {
                Ok(view) => view,
                Err(problem) if problem.kind == ProblemType::NotFound => {
                    return service.burn_alone(id).await.map(|()| Burn::Burned);
                }
                Err(problem) => return Err(problem),
            };
            drop(id_guard);
            let status = service.cancel(&view, cancel).await?;
            Ok(Burn::Cancelled(Box::new(status)))
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a cancel failed");
            Err(Problem::new(
                ProblemType::Internal,
                "the cancel failed; the log of claude-api says why",
            ))
        })
    }

    /// Burns an unknown id. The caller holds the id's lock.
    async fn burn_alone(self: &Arc<Self>, id: ExecutionId) -> Result<(), Problem> {
        let place = match self.burned.contains(id) {
            true => None,
            false => Some(self.admission.reserve(None).map_err(|full| {
                Problem::new(
                    ProblemType::QueueFull,
                    format!("{full}; the cancel of {id} was not recorded; try again"),
                )
                .with("length", full.length())
            })?),
        };
        let service = Arc::clone(self);
        match tokio::task::spawn_blocking(move || service.engine.spool.burn(id.uuid())).await {
            Ok(Ok(())) => {
                // The place of a repeated burn may have expired meanwhile.
                let place = place.unwrap_or_else(|| self.admission.reserve_anyway());
                self.burned.ids().entry(id).or_insert(place);
                Ok(())
            }
            Ok(Err(SpoolError::Deleted { .. })) => Err(deleted(id)),
            Ok(Err(error)) => Err(spool_problem(&error)),
            Err(_) => Err(Problem::new(ProblemType::Internal, "the cancel failed")),
        }
    }

    /// Reads the burned ids at the start. Blocks on the disk.
    ///
    /// # Errors
    /// The spool cannot be listed.
    pub(super) fn recover_burned(&self) -> std::io::Result<()> {
        self.engine.spool.expire_burned(SystemTime::now())?;
        let mut ids = self.burned.ids();
        for id in self.engine.spool.burned()? {
            ids.insert(id.into(), self.admission.reserve_anyway());
        }
        Ok(())
    }

    /// Forgets the ids that were burned over an hour ago.
    pub(super) async fn expire_burned(self: &Arc<Self>, now: SystemTime) {
        let service = Arc::clone(self);
        let expired = tokio::task::spawn_blocking(move || {
            let expired = service.engine.spool.expire_burned(now)?;
            for id in &expired {
                service.burned.ids().remove(&ExecutionId::from(*id));
            }
            std::io::Result::Ok(())
        });
        if let Ok(Err(error)) = expired.await {
            tracing::warn!(%error, "could not remove expired cancelled ids; retrying later");
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
