//! Removal of ended executions from the disk: when a client deletes one, and by retention, which
//! limits their age and their total size.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::{ExecutionId, Problem, ProblemType};

use super::{FoundExecution, Service, deleted, problem};
use crate::access::{Caller, Right};
use crate::registry::NotDeleted;

/// How long the note of a conversation is kept after the last execution of the conversation. The
/// note is a small file with the conversation's workspace. 30 days are also the time for which the
/// id of a deleted execution is remembered.
const CONVERSATION_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The interval between two passes of retention, which removes old executions.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);
/// How many passes of retention there are for each removal of old notes of conversations. With a
/// pass per minute that is once an hour, which is enough for an age of 30 days.
const PASSES_PER_NOTE_REMOVAL: u32 = 60;

impl Service {
    /// Deletes the files of an ended execution. For 30 days a small record of the deletion remains
    /// on disk, and requests with the id are answered with 410 `deleted`.
    ///
    /// # Errors
    /// 409 `wrong-state` if the execution has not ended, 403 `forbidden`, 404 `not-found`, 410
    /// `deleted`, or a disk error.
    pub(crate) async fn delete(
        self: &Arc<Self>,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<(), Problem> {
        let view = self.find(caller, id, Right::Own).await?;
        let state = self.whole_status(&view).await?.state;
        let not_ended = || {
            Problem::new(
                ProblemType::WrongState,
                "the execution has not ended; cancel it first, or wait for its end",
            )
            .with("state", state.as_str())
        };
        if matches!(view, FoundExecution::Live(_)) && !state.is_terminal() {
            return Err(not_ended());
        }
        let service = Arc::clone(self);
        match spool::blocking::run(move || service.engine.registry.delete(id)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotDeleted::Living)) => Err(not_ended()),
            Ok(Err(NotDeleted::Unknown)) => Err(deleted(id)),
            Ok(Err(NotDeleted::Failed(failure))) => Err(problem(&failure)),
            Err(_) => Err(Problem::new(ProblemType::Internal, "the deletion failed")),
        }
    }

    /// Removes the notes of conversations that were not used for 30 days, or for the retention of
    /// executions if that is longer. Also removes the temporary folders of conversations that have
    /// no note. A failure is logged.
    async fn expire_notes(self: &Arc<Self>) {
        let service = Arc::clone(self);
        // Notes are kept as long as tombstones, and at least as long as the executions themselves.
        let age = CONVERSATION_AGE.max(Duration::from_millis(
            self.engine.settings.limits.retention_ms,
        ));
        let expire = move || {
            let notes = &service.engine.conversations;
            notes.expire(age, std::time::SystemTime::now())?;
            let Some(policy) = &service.engine.sandbox else {
                return Ok(());
            };
            policy.expire(|conversation| notes.find(conversation).is_some())
        };
        let expired: Result<std::io::Result<()>, _> = spool::blocking::run(expire).await;
        if let Ok(Err(error)) = expired {
            tracing::warn!(
                %error,
                "could not remove the notes and temporary folders of old conversations; retrying \
                 in an hour"
            );
        }
    }

    /// Removes temporary folders of conversations that no execution uses, if the disk that holds
    /// them is nearly full. Does nothing without the sandbox, because only sandboxed executions
    /// have such folders. A failure is logged.
    async fn make_room(self: &Arc<Self>) {
        let engine = Arc::clone(&self.engine);
        let removed = spool::blocking::run(move || {
            let policy = engine.sandbox.as_ref();
            policy.map_or(Ok(0), crate::sandbox::Policy::make_room)
        });
        match removed.await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(folders)) => {
                tracing::warn!(
                    folders,
                    "removed temporary folders of idle conversations: their disk was nearly full"
                );
            }
            Ok(Err(error)) => tracing::warn!(
                %error,
                "could not free space for temporary files; checking again in a minute"
            ),
        }
    }

    /// Removes everything that is no longer kept, once a minute until the service stops: ended
    /// executions beyond the limits of age and total size, expired burned ids, old notes of
    /// conversations (once an hour), and idle temporary folders if their disk is nearly full.
    /// Failures are logged and retried.
    pub(crate) async fn run_retention(self: Arc<Self>) {
        for pass in 0_u32.. {
            self.make_room().await;
            let service = Arc::clone(&self);
            match spool::blocking::run(move || service.engine.registry.expire(SystemTime::now()))
                .await
            {
                Ok(Ok(expired)) if !expired.is_empty() => {
                    tracing::info!(
                        executions = expired.len(),
                        "removed ended executions beyond the limits of age or size"
                    );
                }
                Ok(Err(error)) => {
                    tracing::warn!(
                        %error,
                        "could not remove ended executions beyond the limits of age or size; \
                         retrying in a minute"
                    );
                }
                Ok(Ok(_)) | Err(_) => {}
            }
            self.expire_burned(SystemTime::now()).await;
            if pass % PASSES_PER_NOTE_REMOVAL == 0 {
                self.expire_notes().await;
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(EXPIRE_INTERVAL) => {}
            }
        }
    }
}
