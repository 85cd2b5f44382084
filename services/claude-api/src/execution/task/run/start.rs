//! The start of the CLI: the prompt from the disk, the arguments, the runner.

use std::time::Duration;

use runner::Handle;

use super::super::{Owner, blocking};
use crate::cli;
use crate::execution::accepted::Accepted;

/// The capacity wished for the stdout pipe, bytes: the CLI cuts its output at a full pipe when it ends.
const PIPE_BYTES: usize = 256 * 1024;
/// How often, and how long, a start is tried again when the machine is short of descriptors or processes.
const START_RETRY: (Duration, u32) = (Duration::from_millis(250), 120);

/// Starts the CLI; also gives the first message for its stdin.
pub(super) async fn start(owner: &mut Owner) -> Result<(Handle, Vec<u8>), String> {
    let entry = owner.entry.clone();
    let readiness = owner.service.readiness.clone();
    let (message, credential) = blocking(move || {
        // The prompt was on disk only since the acceptance.
        let accepted: Accepted = serde_json::from_slice(&entry.body()?)?;
        let message = cli::first_message(&accepted.body, &accepted.conversation);
        Ok((message, readiness.credential()))
    })
    .await
    .map_err(|e| format!("its body: {e}"))?;
    owner.credential = Some(credential);
    let service = &owner.service;
    let accepted = &owner.accepted;
    let root = service.settings.args.workspace_root.clone();
    let own = service.settings.args.default_workspace.clone();
    let name = accepted.body.workspace.clone();
    let conversations = service.conversations.clone();
    let conversation = accepted.conversation.clone();
    let config_dir = service.environment.config_dir();
    let (cwd, kind) = blocking(move || {
        let cwd = cli::workspace(&root, own.as_deref(), &name)?;
        Ok((cwd, conversations.kind(&conversation, &config_dir)))
    })
    .await
    .map_err(|e| format!("workspace {:?}: {e}", accepted.body.workspace))?;
    let spec = runner::Spec {
        program: service.settings.args.claude_bin.clone(),
        args: cli::arguments(
            &accepted.body,
            &accepted.permissions,
            &accepted.conversation,
            kind,
        ),
        env: service.environment.with(&accepted.body.env),
        cwd,
        stdout_pipe_bytes: PIPE_BYTES,
    };
    let mut tries = 0;
    loop {
        match service.runners.start(spec.clone()).await {
            Ok(handle) => return Ok((handle, message)),
            // Short of descriptors or processes for a moment: no reason to fail an accepted execution.
            Err(error) if is_shortage(&error) && tries < START_RETRY.1 => {
                tries += 1;
                tokio::time::sleep(START_RETRY.0).await;
            }
            Err(error) => return Err(format!("its runner cannot be started: {error}")),
        }
    }
}

fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM]
        .contains(&Errno::from_io_error(error).unwrap_or(Errno::INVAL))
}
