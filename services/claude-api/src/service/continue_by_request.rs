//! Continuations by request: a body that `continues` an execution which was interrupted, or which a
//! usage limit ended, resumes its conversation. An execution is continued once.

use std::sync::Arc;

use protocol::body::DEFAULT_WORKSPACE;
use protocol::{Body, ExecutionId, Problem, ProblemType, Status};
use tokio::sync::OwnedMutexGuard;

use super::{Service, not_found};
use crate::execution::policy::is_continuable;
use crate::registry::Lookup;
use crate::registry::record::Record;

/// An execution that a request may continue. While it is held nobody else continues any.
pub(super) struct Continued {
    entry: spool::Entry,
    pub(super) conversation: String,
    pub(super) workspace: String,
    _alone: OwnedMutexGuard<()>,
}

impl Service {
    /// Finds the execution that a body `continues`.
    ///
    /// # Errors
    /// `not-found`, `other-workspace`, or `wrong-state` with `state` and why.
    pub(super) async fn continued(
        self: &Arc<Self>,
        body: &Body,
    ) -> Result<Option<Continued>, Problem> {
        let Some(id) = body.continues else {
            return Ok(None);
        };
        let alone = self.engine.registry.hold_continuations().await;
        // Not `find`, which may wait for the acceptance of an id: the caller is one. What has no end is refused anyway.
        let Lookup::Found(view) = self.look_up(id).await? else {
            return Err(not_found(id));
        };
        let live = self.status(&view).await?;
        let refuse = |why: String| {
            Problem::new(ProblemType::WrongState, why).with("state", live.state.as_str())
        };
        if !live.state.is_terminal() {
            return Err(refuse(format!(
                "execution {id} has not ended; wait for its end"
            )));
        }
        let entry = view.entry().clone();
        if !entry.is_terminal() {
            return Err(refuse(format!(
                "the end of execution {id} is not on disk yet; try again in a moment"
            )));
        }
        // On disk is what was added behind the end.
        let read = entry.clone();
        let service = Arc::clone(self);
        let record = spool::blocking::run_io(move || {
            let record = Record::decode(&read.status()?).map_err(std::io::Error::other)?;
            if let Some(conversation) = &record.status.conversation {
                service
                    .engine
                    .conversations
                    .settle(conversation, &service.engine.environment.config_dir());
            }
            Ok(record)
        });
        let status = record.await.map_or(live.clone(), |record| record.status);
        if let Some(by) = status.continued_by {
            return Err(refuse(format!("execution {id} is continued by {by}"))
                .with("continuedBy", by.to_string()));
        }
        let conversation = match status.conversation {
            Some(conversation) if is_continuable(&live) => conversation,
            _ => {
                return Err(refuse(format!(
                    "execution {id} was neither interrupted nor ended by a usage limit; name its `conversation` to go on in it"
                )));
            }
        };
        if body.workspace != DEFAULT_WORKSPACE && body.workspace != status.workspace {
            return Err(Problem::new(
                ProblemType::OtherWorkspace,
                format!(
                    "execution {id} ran in workspace {:?}; name that one, or none",
                    status.workspace
                ),
            ));
        }
        Ok(Some(Continued {
            entry,
            conversation,
            workspace: status.workspace,
            _alone: alone,
        }))
    }

    /// Notes in the old execution that a new one continues it.
    pub(super) async fn note_continued(self: &Arc<Self>, old: Continued, by: ExecutionId) {
        let service = Arc::clone(self);
        let entry = old.entry.clone();
        let noted = spool::blocking::run_io(move || {
            let add = |status: &mut Status| status.continued_by = Some(by);
            service.engine.registry.amend(&entry, add)
        });
        if let Err(error) = noted.await {
            tracing::warn!(%error, "`continuedBy` was not recorded; the next start does it");
        }
    }
}

#[cfg(test)]
mod tests;
