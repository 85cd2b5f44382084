//! The removal of ended executions: by request, and by age and size.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::{ExecutionId, Problem, ProblemType};

use super::{Service, View, deleted, problem};
use crate::registry::NotDeleted;

/// How long a conversation that nobody goes on in is known.
const CONVERSATIONS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often retention looks.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);
/// Old notes of conversations are removed in every so many passes of retention: once an hour is
/// enough for 30 days.
const NOTES_EVERY: u32 = 60;

impl Service {
    /// Forgets a terminal execution; a tombstone stays for 30 days.
    ///
    /// # Errors
    /// `wrong-state` while it lives, `not-found`, `deleted`, or the disk's.
    pub async fn delete(self: &Arc<Self>, id: ExecutionId) -> Result<(), Problem> {
        let view = self.find(id).await?;
        let state = self.status(&view).await?.state;
        let alive = || {
            Problem::new(
                ProblemType::WrongState,
                "the execution has not ended; cancel it first, or wait for its end",
            )
            .with("state", state.as_str())
        };
        if matches!(view, View::Live(_)) && !state.is_terminal() {
            return Err(alive());
        }
        let service = Arc::clone(self);
        match spool::blocking::run(move || service.engine.registry.delete(id)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotDeleted::Living)) => Err(alive()),
            Ok(Err(NotDeleted::Unknown)) => Err(deleted(id)),
            Ok(Err(NotDeleted::Failed(failure))) => Err(problem(&failure)),
            Err(_) => Err(Problem::new(ProblemType::Internal, "the deletion failed")),
        }
    }

    async fn expire_notes(self: &Arc<Self>) {
        let service = Arc::clone(self);
        // Notes are kept as long as tombstones, and never shorter than the executions themselves.
        let age = CONVERSATIONS.max(Duration::from_millis(
            self.engine.settings.limits.retention_ms,
        ));
        let expire = move || {
            let notes = &service.engine.conversations;
            notes.expire(age, std::time::SystemTime::now())?;
            let Some(policy) = &service.engine.sandbox else {
                return Ok(());
            };
            policy.expire(|conversation| notes.workspace(conversation).is_some())
        };
        let expired: Result<std::io::Result<()>, _> = spool::blocking::run(expire).await;
        if let Ok(Err(error)) = expired {
            tracing::warn!(
                %error,
                "could not remove the notes and temporary folders of old conversations"
            );
        }
    }

    /// Makes room for temporary files of executions.
    async fn make_room(self: &Arc<Self>) {
        let engine = Arc::clone(&self.engine);
        let made = spool::blocking::run(move || {
            let policy = engine.sandbox.as_ref();
            policy.map_or(Ok(0), crate::sandbox::Policy::make_room)
        });
        match made.await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(folders)) => {
                tracing::warn!(
                    folders,
                    "room for temporary files was short: removed idle folders"
                );
            }
            Ok(Err(error)) => tracing::warn!(%error, "could not make room for temporary files"),
        }
    }

    /// Applies retention until the service stops.
    pub(crate) async fn keep_expiring(self: Arc<Self>) {
        for pass in 0_u32.. {
            self.make_room().await;
            let service = Arc::clone(&self);
            match spool::blocking::run(move || service.engine.registry.expire(SystemTime::now()))
                .await
            {
                Ok(Ok(expired)) if !expired.is_empty() => {
                    tracing::info!(executions = expired.len(), "removed by retention");
                }
                Ok(Err(error)) => tracing::warn!(%error, "retention failed"),
                Ok(Ok(_)) | Err(_) => {}
            }
            self.expire_burned(SystemTime::now()).await;
            if pass % NOTES_EVERY == 0 {
                self.expire_notes().await;
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(EXPIRE_INTERVAL) => {}
            }
        }
    }
}
