//! Runs of the after hook, the operator's program that runs after each execution with the terminal
//! status as JSON on its stdin.

use std::sync::Arc;

use super::Service;
use super::hook_queue::SLOTS;
use crate::config::{Hook, HookMode};
use crate::hooks::{Ended, Failure, call};
use crate::registry::Lookup;
use crate::times::now;
use protocol::Status;

/// Starts the operator's after hook in the background, for an execution that ended with `status`,
/// and returns immediately. Does nothing if no hook is set, or if the execution never started. A
/// hook that fails, or for which there is no free slot, adds a warning to the terminal status.
pub(crate) fn run_after(service: &Arc<Service>, status: Status) {
    let Some(hook) = service.engine.settings.hooks.after.clone() else {
        return;
    };
    // An execution that was cancelled in the queue never started.
    if status.started_at.is_none() {
        return;
    }
    let slot = Arc::clone(&service.hook_queue.slots).try_acquire_owned();
    let task = Arc::clone(service);
    service.background(async move {
        let result = match &slot {
            Ok(_) => run_queued(&task, &hook, &status).await,
            Err(_) => {
                let text = format!("was not run, because {SLOTS} hooks run or wait already");
                Err(Failure::new(&hook, "too_many", &text, b""))
            }
        };
        if let Err(failure) = result {
            report(&task, &hook, &status, failure).await;
        }
        drop(slot);
    });
}

/// Waits for one of the 4 permits to run a hook, then runs the hook. Fails if the hook fails, and
/// if the service stops: then a waiting hook is not run, and a running one is killed.
async fn run_queued(service: &Arc<Service>, hook: &Hook, status: &Status) -> Result<(), Failure> {
    let queue = &service.hook_queue;
    let stopped = |text| Err(Failure::new(hook, "stopped", text, b""));
    let Some(_permit) = queue.permit().await else {
        return stopped("was not run, because the service stopped");
    };
    match call(&service.engine, hook, status, queue.stopped.cancelled()).await {
        Ended::Succeeded => Ok(()),
        Ended::Failed(failure) => Err(failure),
        Ended::Halted(()) => stopped("was killed, because the service stopped"),
    }
}

/// Logs the failure of an after hook, and adds it as a warning to the terminal status on disk. A
/// deleted execution gets no warning. If the write fails, only the log has the failure.
async fn report(service: &Arc<Service>, hook: &Hook, status: &Status, failure: Failure) {
    let execution = status.execution_id;
    match hook.mode {
        HookMode::Advisory => tracing::warn!(%execution, "{}", failure.message),
        HookMode::Required => tracing::error!(%execution, "{}", failure.message),
    }
    let amending = Arc::clone(service);
    let amended = spool::blocking::run(move || {
        let registry = &amending.engine.registry;
        match registry.find(execution).map_err(std::io::Error::other)? {
            Lookup::Found(entry) => registry.amend(&entry, |status| failure.warn(status, now())),
            // The execution was deleted meanwhile.
            _ => Ok(()),
        }
    });
    if let Err(error) = amended.await {
        tracing::warn!(
            %execution,
            %error,
            "could not add the failure of the after hook to the status; only the log has it"
        );
    }
}

#[cfg(test)]
mod tests {
    use protocol::State;
    use serde_json::json;

    use super::*;
    use crate::service::testing::{accepted, open_with, owner, status};

    #[tokio::test]
    async fn an_end_without_a_slot_for_its_hook_gets_a_warning() {
        for (used, cause) in [(SLOTS, "too_many"), (SLOTS - 1, "not_started")] {
            let dir = tempfile::tempdir().unwrap();
            let service = open_with(dir.path(), &["--hook-after=/nonexistent"]);
            let id = accepted(&service, State::Running);
            let (mut owner, mut ticket) = owner(&service, id, &[]);
            let slots = Arc::clone(&service.hook_queue.slots);
            let used = slots.acquire_many_owned(u32::try_from(used).unwrap());
            let used = used.await.unwrap();
            let ended = owner.drive(&mut ticket).await;
            service.finish(&mut owner, ended).await;
            // The stop waits for the hook.
            service.stop().await;
            let end = status(&service, id);
            assert_eq!(end.state, State::Failed);
            let warning = &end.warnings[0];
            assert_eq!(warning.code, "hook_failed");
            let data = json!({ "hook": "after", "mode": "advisory", "cause": cause });
            assert_eq!(warning.data, data, "{}", warning.message);
            drop(used);
        }
    }
}
