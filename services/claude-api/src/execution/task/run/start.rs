//! The start of the CLI: the prompt from the disk, the arguments, the runner.

use std::io;
use std::time::Duration;

use runner::Handle;
use tokio::time::timeout;

use super::super::{Owner, blocking};
use crate::cli;
use crate::conversations::transcript_bytes;
use crate::execution::accepted::Accepted;
use crate::execution::verdict::EndedBy;
use crate::execution::wish::{EndWish, Wishes};

/// The capacity wished for the stdout pipe, bytes: the CLI cuts its output at a full pipe when it ends.
const PIPE_BYTES: usize = 256 * 1024;
/// The interval and the time limit for retries of a start when the machine is short of descriptors
/// or processes. The runner has the same time limit for the start of the CLI.
const START_RETRY: (Duration, u32) = (Duration::from_millis(250), 120);

/// Starts the CLI, and returns its runner with the first message for stdin. An earlier cancel or
/// stop starts nothing; one during a shortage ends the retries.
///
/// # Errors
/// Why there is none, and whether somebody's wish ended the wait.
pub(super) async fn start(owner: &mut Owner) -> Result<(Handle, Vec<u8>), (EndedBy, String)> {
    if let Some(by) = wait(&owner.wishes, Duration::ZERO).await {
        return Err((
            by,
            "the execution was cancelled or stopped before its start".to_owned(),
        ));
    }
    let mut tries = 0;
    loop {
        let (what, error) = match attempt(owner).await {
            Ok(started) => return Ok(started),
            Err(failed) => failed,
        };
        let why = format!("{what}: {error}");
        // Short of descriptors or processes for a moment: no reason to fail an accepted execution.
        if !is_shortage(&error) {
            return Err((EndedBy::Itself, why));
        }
        if tries == START_RETRY.1 {
            let waited = (START_RETRY.0 * START_RETRY.1).as_secs();
            let why = format!(
                "{why}; the machine was short of processes, memory or descriptors for {waited} s: \
                 raise the limits of processes, memory and open files (CCB_PIDS, CCB_MEMORY)"
            );
            return Err((EndedBy::Itself, why));
        }
        tries += 1;
        if let Some(by) = wait(&owner.wishes, START_RETRY.0).await {
            return Err((by, why));
        }
    }
}

/// Waits for `time`, or for a wish to end the execution.
async fn wait(wishes: &Wishes, time: Duration) -> Option<EndedBy> {
    match timeout(time, wishes.end_above(None)).await {
        Ok(Some(EndWish::Cancel)) => Some(EndedBy::Cancel),
        Ok(Some(EndWish::Stop)) => Some(EndedBy::Stop),
        Ok(None) | Err(_) => None,
    }
}

async fn attempt(owner: &mut Owner) -> Result<(Handle, Vec<u8>), (String, io::Error)> {
    let entry = owner.entry.clone();
    let readiness = owner.service.readiness.clone();
    let (message, credential) = blocking(move || {
        // The prompt was on disk only since the acceptance.
        let accepted: Accepted = serde_json::from_slice(&entry.body()?)?;
        let message = cli::first_message(&accepted.body, &accepted.conversation);
        Ok((message, readiness.credential()))
    })
    .await
    .map_err(|e| ("its body".to_owned(), e))?;
    owner.credential = Some(credential);
    let service = &owner.service;
    let accepted = &owner.accepted;
    let root = service.settings.args.workspace_root.clone();
    let own = service.settings.args.default_workspace.clone();
    let name = accepted.body.workspace.clone();
    let conversations = service.conversations.clone();
    let conversation = accepted.conversation.clone();
    let config_dir = service.environment.config_dir();
    let (cwd, kind, written) = blocking(move || {
        let cwd = cli::workspace(&root, own.as_deref(), &name)?;
        let written = transcript_bytes(&config_dir, &conversation);
        Ok((cwd, conversations.kind(&conversation, &config_dir), written))
    })
    .await
    .map_err(|e| {
        let args = &service.settings.args;
        let own = args.default_workspace.as_deref();
        let name = &accepted.body.workspace;
        let folder = cli::workspace_folder(&args.workspace_root, own, name);
        let why = runner::cannot_enter(&folder).map_or_else(String::new, |why| format!(" ({why})"));
        let folder = folder.display();
        (format!("workspace {name:?}, folder {folder}{why}"), e)
    })?;
    owner.transcript_bytes = written;
    let repository = service.settings.args.repository_settings;
    let mut args = cli::arguments(
        &accepted.body,
        &accepted.permissions,
        &accepted.conversation,
        kind,
    );
    args.extend(cli::repository_arguments(
        repository,
        &cwd,
        &service.environment,
    ));
    let mut env = service.environment.with(&accepted.body.env);
    env.extend(cli::repository_variable(repository));
    let spec = runner::Spec {
        program: service.settings.args.claude_bin.clone(),
        args,
        env,
        cwd,
        stdout_pipe_bytes: PIPE_BYTES,
        start_patience: START_RETRY.0 * START_RETRY.1,
    };
    match service.runners.start(spec).await {
        Ok(handle) => {
            owner.runner = Some(handle.control.clone());
            Ok((handle, message))
        }
        Err(error) => Err(("its runner cannot be started".to_owned(), error)),
    }
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM]
        .contains(&Errno::from_io_error(error).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::Control;

    #[test]
    fn a_shortage_passes() {
        use rustix::io::Errno;
        for errno in [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(is_shortage(&errno.into()), "{errno}");
        }
        assert!(!is_shortage(&Errno::NOENT.into()));
    }

    #[tokio::test]
    async fn a_cancel_or_a_stop_ends_the_wait_for_better_times() {
        for (controls, expected) in [
            (&[Control::Pause, Control::Resume][..], None),
            (&[Control::Pause, Control::Cancel], Some(EndedBy::Cancel)),
            (&[Control::Resume, Control::Stop], Some(EndedBy::Stop)),
            (&[Control::Stop, Control::Cancel], Some(EndedBy::Cancel)),
        ] {
            let wishes = Wishes::new(false);
            for control in controls {
                wishes.ask(*control).unwrap();
            }
            let begun = tokio::time::Instant::now();
            let by = wait(&wishes, START_RETRY.0).await;
            assert_eq!(by, expected, "{controls:?}");
            assert_eq!(begun.elapsed() >= START_RETRY.0, by.is_none());
        }
    }
}
