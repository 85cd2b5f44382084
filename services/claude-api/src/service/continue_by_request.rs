//! Continuations by request. A request with `continues` resumes the conversation of an execution
//! that was interrupted or that a usage limit ended. An execution is continued at most once.

use std::sync::Arc;

use protocol::body::DEFAULT_WORKSPACE;
use protocol::{Body, ExecutionId, Problem, ProblemType, Status};
use tokio::sync::OwnedMutexGuard;

use super::find::visible;
use super::{Service, not_found};
use crate::access::Caller;
use crate::execution::policy::is_continuable;
use crate::registry::record::Record;

/// An ended execution that a request may continue, with its conversation and workspace. It holds a
/// lock: while it exists, no other request continues an execution.
pub(super) struct ContinuedExecution {
    /// The files of the ended execution on disk.
    entry: spool::Entry,
    /// The conversation that the new execution resumes.
    pub(super) conversation: String,
    /// The workspace in which the ended execution ran.
    pub(super) workspace: String,
    /// The principal to whom the ended execution belongs.
    pub(super) principal: Option<String>,
    _lock: OwnedMutexGuard<()>,
}

impl Service {
    /// Finds and locks the execution that `body.continues` names. The execution must have been
    /// interrupted or ended by a usage limit, and must have no continuation yet. Returns `None` if
    /// the body continues no execution.
    ///
    /// # Errors
    /// 404 `not-found`; 409 `other-workspace` if the body names a workspace that is not the
    /// execution's; 409 `wrong-state` with the execution's `state` and the reason in words, if it
    /// cannot be continued.
    pub(super) async fn find_continued(
        self: &Arc<Self>,
        caller: &Caller,
        body: &Body,
    ) -> Result<Option<ContinuedExecution>, Problem> {
        let Some(id) = body.continues else {
            return Ok(None);
        };
        let lock = self.engine.registry.lock_continuations().await;
        // Not `find`, which may wait for the acceptance of an id: the caller is an acceptance
        // itself. An execution that is being accepted has no end, and is refused below.
        let view = match visible(self.look_up(id).await?, caller, id) {
            Ok(view) => view,
            Err(problem) if problem.kind == ProblemType::Deleted => return Err(not_found(id)),
            Err(problem) => return Err(problem),
        };
        let shown = self.whole_status(&view).await?;
        let refuse = |reason: String| {
            Problem::new(ProblemType::WrongState, reason).with("state", shown.state.as_str())
        };
        if !shown.state.is_terminal() {
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
        // Only the record on disk has changes that were made after the end, like `continuedBy`.
        let reader = entry.clone();
        let service = Arc::clone(self);
        let record = spool::blocking::run_io(move || {
            let record = Record::decode(&reader.status()?).map_err(std::io::Error::other)?;
            if let Some(conversation) = &record.status.conversation {
                service
                    .engine
                    .conversations
                    .settle(conversation, &service.engine.environment.config_dir());
            }
            Ok(record)
        });
        let status = record.await.map_or(shown.clone(), |record| record.status);
        if let Some(next) = status.continued_by {
            return Err(refuse(format!(
                "execution {id} is continued by {next}; use that execution"
            ))
            .with("continuedBy", next.to_string()));
        }
        let conversation = match status.conversation {
            Some(conversation) if is_continuable(&shown) => conversation,
            _ => {
                return Err(refuse(format!(
                    "execution {id} was neither interrupted nor ended by a usage limit; to \
                     continue its conversation, send its `conversation`"
                )));
            }
        };
        if body.workspace != DEFAULT_WORKSPACE && body.workspace != status.workspace {
            return Err(Problem::new(
                ProblemType::OtherWorkspace,
                format!(
                    "execution {id} ran in workspace {:?}; name that workspace, or none",
                    status.workspace
                ),
            ));
        }
        Ok(Some(ContinuedExecution {
            entry,
            conversation,
            workspace: status.workspace,
            principal: status.principal,
            _lock: lock,
        }))
    }

    /// Writes the id `next` of the continuation to the terminal status of the execution that it
    /// continues. A failure is only logged, because the continuation is accepted already.
    pub(super) async fn record_continued_by(
        self: &Arc<Self>,
        old: ContinuedExecution,
        next: ExecutionId,
    ) {
        let service = Arc::clone(self);
        let entry = old.entry.clone();
        let noted = spool::blocking::run_io(move || {
            let add = |status: &mut Status| status.continued_by = Some(next);
            service.engine.registry.amend(&entry, add)
        });
        if let Err(error) = noted.await {
            tracing::warn!(
                %error,
                "could not write `continuedBy` to the status of a continued execution; a restart \
                 retries while the continuation has not ended"
            );
        }
    }
}

#[cfg(test)]
mod tests;
