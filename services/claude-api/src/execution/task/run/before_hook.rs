//! The before hook: a program of the operator that runs before the CLI of each execution is
//! started. If it is required and fails, the CLI is not started.

use std::time::Instant;

use protocol::Status;

use super::start::ended_by;
use super::waits::sleep_until;
use crate::config::HookMode;
use crate::execution::owner::Owner;
use crate::execution::verdict::EndedBy;
use crate::hooks::{Ended, Failure, call};
use crate::registry::Ticket;

/// The reason why the CLI of an execution is not started after the before hook.
pub(super) enum NoStart {
    /// The execution was cancelled, stopped or reached its deadline during the hook: the cause, and
    /// its description.
    Ended(EndedBy, String),
    /// The hook is required and has failed.
    Refused(Failure),
}

/// Runs the operator's before hook, and returns `Ok` if the CLI may be started. Does nothing if no
/// hook is set. If an advisory hook fails, a warning is added to `status` and published.
///
/// A cancel or `deadline` ends the hook immediately. A stop of the service ends it when the
/// service's time for running executions is over. A pause takes effect when the CLI starts.
///
/// # Errors
/// The reason why the CLI must not be started.
pub(super) async fn run_before_hook(
    owner: &Owner,
    status: &mut Status,
    started: Instant,
    deadline: Option<Instant>,
    ticket: &Ticket,
) -> Result<(), NoStart> {
    let Some(hook) = &owner.engine.settings.hooks.before else {
        return Ok(());
    };
    // The hook may take long, and other executions must not wait for this start.
    ticket.started();
    let halt = async {
        tokio::select! {
            biased;
            wish = owner.wishes.wait_for_end_above(None) => ended_by(wish).unwrap_or(EndedBy::Stop),
            () = sleep_until(deadline) => EndedBy::Deadline,
        }
    };
    let failure = match call(&owner.engine, hook, status, halt).await {
        Ended::Succeeded => return Ok(()),
        Ended::Halted(ended_by) => {
            let reason = "the execution ended during its before hook".to_owned();
            return Err(NoStart::Ended(ended_by, reason));
        }
        Ended::Failed(failure) => failure,
    };
    tracing::warn!(execution = %status.execution_id, "{}", failure.message);
    match hook.mode {
        HookMode::Required => Err(NoStart::Refused(failure)),
        HookMode::Advisory => {
            failure.warn(status, owner.times.now());
            owner.show(status, started.elapsed(), Some(Instant::now()));
            Ok(())
        }
    }
}
