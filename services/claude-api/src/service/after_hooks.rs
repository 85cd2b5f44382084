//! The hook after each execution.

use std::sync::Arc;

use super::Service;
use super::hook_places::PLACES;
use crate::config::{Hook, HookMode};
use crate::hooks::{Ended, Failure, call};
use crate::registry::Lookup;
use crate::times::now;
use protocol::Status;

/// Runs the hook after an execution with this terminal status, if there is one, as a task of the
/// service. Returns at once.
pub(crate) fn run_after(service: &Arc<Service>, status: Status) {
    // An execution that was cancelled in the queue never began.
    let Some(hook) = service.engine.settings.hooks.after.clone() else {
        return;
    };
    if status.started_at.is_none() {
        return;
    }
    let place = Arc::clone(&service.after_hooks.places).try_acquire_owned();
    let task = Arc::clone(service);
    service.background(async move {
        let ended = match &place {
            Ok(_) => in_turn(&task, &hook, &status).await,
            Err(_) => {
                let what = format!("was not run, because {PLACES} hooks run or wait already");
                Err(Failure::new(&hook, "too_many", &what, b""))
            }
        };
        if let Err(failure) = ended {
            report(&task, &hook, &status, failure).await;
        }
        drop(place);
    });
}

async fn in_turn(service: &Arc<Service>, hook: &Hook, status: &Status) -> Result<(), Failure> {
    let hooks = &service.after_hooks;
    let stopped = |what| Err(Failure::new(hook, "stopped", what, b""));
    let Some(_turn) = hooks.turn().await else {
        return stopped("was not run, because the service stopped");
    };
    match call(&service.engine, hook, status, hooks.stopped.cancelled()).await {
        Ended::Succeeded => Ok(()),
        Ended::Failed(failure) => Err(failure),
        Ended::Halted(()) => stopped("was killed, because the service stopped"),
    }
}

/// Logs the failure and adds it to the terminal status.
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
            // It was deleted meanwhile.
            _ => Ok(()),
        }
    });
    if let Err(error) = amended.await {
        tracing::warn!(%execution, %error, "could not record the warning of the hook");
    }
}

#[cfg(test)]
mod tests {
    use protocol::State;
    use serde_json::json;

    use super::*;
    use crate::service::testing::{accepted, open_with, owner, status};

    #[tokio::test]
    async fn an_end_that_finds_no_place_for_its_hook_has_a_warning() {
        for (taken, cause) in [(PLACES, "too_many"), (PLACES - 1, "not_started")] {
            let dir = tempfile::tempdir().unwrap();
            let service = open_with(dir.path(), &["--hook-after=/nonexistent"]);
            let id = accepted(&service, State::Running);
            let (mut owner, mut ticket) = owner(&service, id, &[]);
            let places = Arc::clone(&service.after_hooks.places);
            let taken = places.acquire_many_owned(u32::try_from(taken).unwrap());
            let taken = taken.await.unwrap();
            let ended = owner.own(&mut ticket).await;
            service.finish(&mut owner, ended).await;
            // It waits for the hook.
            service.stop().await;
            let end = status(&service, id);
            assert_eq!(end.state, State::Failed);
            let warning = &end.warnings[0];
            assert_eq!(warning.code, "hook_failed");
            let data = json!({ "hook": "after", "mode": "advisory", "cause": cause });
            assert_eq!(warning.data, data, "{}", warning.message);
            drop(taken);
        }
    }
}
