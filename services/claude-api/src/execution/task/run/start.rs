//! The start of an execution's CLI: reads the prompt from the disk, prepares folders and arguments,
//! and starts the runner.

mod grant;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::Body;
use protocol::trace_context::{TRACEPARENT_VARIABLE, TRACESTATE_VARIABLE};
use runner::Handle;
use tokio::time::timeout;

use crate::cli::{self, Conversation, PrivateOption, SHORTAGE_RETRY};
use crate::conversations::{copy_transcript, transcript_bytes};
use crate::credentials::Held;
use crate::execution::owner::Owner;
use crate::execution::trace;
use crate::execution::verdict::EndedBy;
use crate::execution::wish::{EndWish, Wishes};
use crate::registry::Ticket;
use crate::registry::record::Accepted;
use crate::sandbox::restore_transcript;
use grant::hold_grant;

/// The requested capacity in bytes of the pipe from the CLI's stdout. When the CLI exits, it drops
/// output that does not fit into the pipe.
const PIPE_BYTES: usize = 256 * 1024;
/// The maximum number of retries of a start while the machine is short of file descriptors,
/// processes or memory. With the pause [`SHORTAGE_RETRY`] they take 30 s. The runner retries the
/// start of the CLI for the same time.
const START_RETRIES: u32 = 120;

/// Starts the CLI. Returns the handle of its runner, and the first message, which the caller writes
/// to the CLI's stdin. A shortage of processes, memory or file descriptors is retried for 30 s.
/// After a cancel or stop, no process is started and the retries end.
///
/// With the service `credentials`, the CLI gets a grant, which the owner holds from now on. While
/// that service has never connected, this takes up to 10 s longer.
///
/// # Errors
/// The cause of the end (a cancel, a stop, or `Itself` for a start that failed), and the reason in
/// words.
pub(super) async fn start(
    owner: &mut Owner,
    ticket: &Ticket,
) -> Result<(Handle, Vec<u8>), (EndedBy, String)> {
    let wishes = Arc::clone(&owner.wishes);
    let held = tokio::select! {
        // A cancel or stop that came before is found first.
        biased;
        wish = wishes.wait_for_end_above(None) => {
            let reason = "the execution was cancelled or stopped before its start";
            return Err((ended_by(wish).unwrap_or(EndedBy::Stop), reason.to_owned()));
        }
        held = hold_grant(owner, ticket) => held,
    };
    owner.held = held.map_err(|error| (EndedBy::Itself, error.to_string()))?;
    let mut retries = 0;
    loop {
        let (what, error) = match attempt(owner).await {
            Ok(started) => return Ok(started),
            Err(failed) => failed,
        };
        let reason = format!("{what}: {error}");
        // A shortage may pass, so it does not fail an accepted execution immediately.
        if !cli::is_shortage(&error) {
            return Err((EndedBy::Itself, reason));
        }
        if retries == START_RETRIES {
            let waited = (SHORTAGE_RETRY * START_RETRIES).as_secs();
            let reason = format!(
                "{reason}; the machine was short of processes, memory or descriptors for \
                 {waited} s: raise the limits of processes, memory and open files (CCB_PIDS, \
                 CCB_MEMORY)"
            );
            return Err((EndedBy::Itself, reason));
        }
        retries += 1;
        if let Some(ended_by) = wait_for_end(&wishes, SHORTAGE_RETRY).await {
            return Err((ended_by, reason));
        }
    }
}

/// Waits for `time`, and returns `None` then. If the execution is cancelled or stopped earlier,
/// returns that cause.
async fn wait_for_end(wishes: &Wishes, time: Duration) -> Option<EndedBy> {
    let wish = timeout(time, wishes.wait_for_end_above(None)).await;
    wish.ok().and_then(ended_by)
}

/// Converts a request to end the execution into the cause of its end. `None` without a request.
pub(super) fn ended_by(wish: Option<EndWish>) -> Option<EndedBy> {
    match wish? {
        EndWish::Cancel => Some(EndedBy::Cancel),
        EndWish::Stop => Some(EndedBy::Stop),
    }
}

/// Tries once to start the CLI. An error has the part that failed, in words, and its cause.
async fn attempt(owner: &mut Owner) -> Result<(Handle, Vec<u8>), (String, io::Error)> {
    let in_place = Arc::clone(&owner.engine.in_place);
    let (spec, message) = in_place.run(|| prepare(owner))?;
    match owner.engine.runners.start(spec).await {
        Ok(handle) => {
            owner.runner = Some(handle.control.clone());
            Ok((handle, message))
        }
        Err(error) => Err(("its runner cannot be started".to_owned(), error)),
    }
}

/// Prepares the start of the CLI: reads the prompt, and creates the workspace, the folders of the
/// sandbox and the arguments. Returns the program to start with its sandbox, and the first message
/// for stdin. An error has the part that failed, in words, and its cause. Blocks on the disk.
fn prepare(owner: &mut Owner) -> Result<(runner::Spec, Vec<u8>), (String, io::Error)> {
    // Since the acceptance, long texts were only on disk.
    let mut body = stored_body(owner).map_err(|e| ("its body".to_owned(), e))?;
    let message = cli::first_lines(&body, &owner.accepted.conversation);
    let granted = owner.held.as_ref().map(Held::granted);
    let granted = granted.as_ref();
    owner.credential = match granted {
        Some(_) => None,
        None => Some(owner.engine.readiness.credential()),
    };
    let engine = &owner.engine;
    let accepted = &owner.accepted;
    let root = &engine.settings.args.workspace_root;
    let default_folder = engine.settings.args.default_workspace.as_deref();
    let name = &accepted.body.workspace;
    let cwd = cli::workspace(root, default_folder, name).map_err(|e| {
        let folder = cli::workspace_folder(root, default_folder, name);
        let reason = runner::explain_inaccessible(&folder)
            .map_or_else(String::new, |reason| format!(" ({reason})"));
        let folder = folder.display();
        (format!("workspace {name:?}, folder {folder}{reason}"), e)
    })?;
    let config_dir = engine.environment.config_dir();
    owner.transcript_bytes = transcript_bytes(&config_dir, &accepted.conversation);
    let mut kind = engine
        .conversations
        .kind(&accepted.conversation, &config_dir);
    if let (Some(source), Conversation::New) = (&accepted.forked_from, kind) {
        copy_transcript(&config_dir, source, &accepted.conversation)
            .map_err(|e| ("the conversation to fork".to_owned(), e))?;
        kind = Conversation::Forked;
    }
    let repository = engine.settings.args.repository_settings;
    let mut env = engine
        .environment
        .for_execution(&accepted.body.env, granted);
    env.extend(cli::repository_variables(repository, granted.is_some()));
    env.extend(cli::question_variables(&accepted.permissions));
    env.extend(cli::input_variables(&body));
    let id = owner.entry.id().into();
    if let Some(trace) = trace::context(&engine.tracer, id, accepted.trace.as_ref()) {
        // A client's own variables of these names would name a span of another trace.
        env.retain(|(name, _)| name != TRACEPARENT_VARIABLE && name != TRACESTATE_VARIABLE);
        env.extend(trace.variables());
    }
    let settings = [
        cli::repository_settings(repository, &engine.environment, granted),
        cli::shell_settings(&accepted.permissions, repository),
    ];
    let options = cli::private_options(&mut body, settings.into_iter().flatten());
    let arguments;
    let mut sandbox = None;
    if let Some(policy) = &engine.sandbox {
        let prepared = policy
            .prepare(
                &cwd,
                accepted.principal.as_deref(),
                name,
                &accepted.conversation,
                granted.is_some(),
            )
            .map_err(|e| ("its folders".to_owned(), e))?;
        arguments = prepared
            .hide(&options)
            .map_err(|e| ("its options".to_owned(), e))?;
        let overridden: Vec<_> = prepared.variables.iter().map(|(name, _)| name).collect();
        env.retain(|(name, _)| !overridden.contains(&name));
        env.extend(prepared.variables);
        sandbox = Some(prepared.sandbox);
        owner.folders = Some(prepared.folders);
    } else {
        restore_transcript(&config_dir, &accepted.conversation)
            .map_err(|e| ("its transcript".to_owned(), e))?;
        let inline = |option: &PrivateOption| format!("--{}={}", option.name, option.text);
        arguments = options.iter().map(inline).collect();
    }
    let mut args = cli::arguments(
        &body,
        &accepted.permissions,
        &accepted.conversation,
        kind,
        accepted.forked_from.as_deref(),
    );
    args.extend(arguments);
    args.extend(cli::repository_arguments(repository, &cwd));
    let spec = runner::Spec {
        program: engine.settings.args.claude_bin.clone(),
        args,
        env,
        cwd,
        stdout_pipe_bytes: PIPE_BYTES,
        start_patience: SHORTAGE_RETRY * START_RETRIES,
        sandbox,
    };
    Ok((spec, message))
}

/// Reads the body of the request from the disk.
fn stored_body(owner: &Owner) -> io::Result<Body> {
    let accepted: Accepted = serde_json::from_slice(&owner.entry.body()?)?;
    Ok(accepted.body)
}
