//! The start of the CLI: the prompt from the disk, the arguments, the runner.

use std::io;
use std::time::Duration;

use runner::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::super::{Owner, blocking};
use crate::cli;
use crate::conversations::transcript_bytes;
use crate::execution::accepted::Accepted;
use crate::execution::live::{Control, Request};
use crate::execution::verdict::EndedBy;

/// The capacity wished for the stdout pipe, bytes: the CLI cuts its output at a full pipe when it ends.
const PIPE_BYTES: usize = 256 * 1024;
/// How often, and how long, a start is tried again when the machine is short of descriptors or
/// processes. The runner takes as long for the CLI's own start.
const START_RETRY: (Duration, u32) = (Duration::from_millis(250), 120);

/// Starts the CLI; also gives the first message for its stdin. What is asked while a shortage is waited out comes to `early`.
///
/// # Errors
/// Why there is none, and whether somebody's wish ended the wait.
pub(super) async fn start(
    owner: &mut Owner,
    early: &mut Vec<Request>,
) -> Result<(Handle, Vec<u8>), (EndedBy, String)> {
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
        if let Some(by) = wait(&mut owner.requests, START_RETRY.0, early).await {
            return Err((by, why));
        }
    }
}

/// Waits so long, and takes what is asked meanwhile; a cancel or a stop ends it.
async fn wait(
    requests: &mut mpsc::Receiver<Request>,
    time: Duration,
    early: &mut Vec<Request>,
) -> Option<EndedBy> {
    let until = tokio::time::Instant::now() + time;
    while let Ok(Some(request)) = timeout_at(until, requests.recv()).await {
        let by = match request.control {
            Control::Cancel => Some(EndedBy::Cancel),
            Control::Stop => Some(EndedBy::Stop),
            Control::Pause | Control::Resume => None,
        };
        early.push(request);
        if by.is_some() {
            return by;
        }
    }
    None
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
    use tokio::sync::oneshot;

    use super::*;

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
        let (sender, mut requests) = mpsc::channel(16);
        let mut early = Vec::new();
        for (controls, expected, left) in [
            (&[Control::Pause, Control::Resume][..], None, 2),
            (&[Control::Pause, Control::Cancel], Some(EndedBy::Cancel), 2),
            (&[Control::Stop, Control::Cancel], Some(EndedBy::Stop), 1),
        ] {
            for control in controls {
                let (answer, _) = oneshot::channel();
                let control = *control;
                sender.try_send(Request { control, answer }).unwrap();
            }
            let begun = tokio::time::Instant::now();
            let by = wait(&mut requests, START_RETRY.0, &mut early).await;
            assert_eq!(by, expected);
            assert_eq!(begun.elapsed() >= START_RETRY.0, by.is_none());
            assert_eq!(early.len(), left, "in order, for the loop that follows");
            early.clear();
        }
    }
}
