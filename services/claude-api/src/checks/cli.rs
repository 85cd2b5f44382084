//! The check of the Claude CLI: whether it can be started and has the expected version.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;
use crate::readiness::{MISSING, NO_RUNNER, Obstacle, RUNNER_DIED};

/// The pause before the CLI is checked again, if its runner (the helper process that starts it)
/// could not be started or died. Such a check says nothing about the CLI.
pub(super) const CLI_RETRY: Duration = Duration::from_secs(5);
/// How long a check waits for its runner to end after the order to kill the process tree.
const RUNNER_END: Duration = Duration::from_secs(5);
/// The time limit of one `claude --version`. A cold start on a busy machine takes seconds.
const CLI_LIMIT: Duration = Duration::from_secs(60);

/// The outcome of one run of `claude --version`.
enum VersionRun {
    /// The CLI ended: its exit code (`None` if a signal ended it), its stdout, and whether
    /// processes are left that outlived SIGKILL.
    Ended(Option<i32>, Vec<u8>, bool),
    /// The CLI could not be started. The text is the reason.
    NotStarted(String),
    /// The runner, which starts the CLI, died before it reported the CLI's end. The text is the
    /// reason.
    RunnerDied(String),
}

/// Runs `claude --version` through a runner, as the service starts every process, and compares the
/// version with the expected one. At the end, all processes of the check are killed and reaped; the
/// sweep continues in the background for any that outlive SIGKILL.
///
/// # Errors
/// The obstacle for readiness: the CLI is missing, fails, does not answer in time or has another
/// version, or its runner could not be started or died.
pub(super) async fn check_cli(engine: &Arc<Engine>) -> Result<(), Obstacle> {
    let args = &engine.settings.args;
    let remedy = format!(
        "install the Claude CLI {} and name it with --claude-bin",
        args.claude_version
    );
    let missing = |what: String| Obstacle::new(MISSING, what, remedy.clone());
    let spec = runner::Spec {
        program: args.claude_bin.clone(),
        args: vec!["--version".to_owned()],
        env: engine
            .environment
            .for_execution(&std::collections::BTreeMap::new(), None),
        cwd: args.workspace_root.clone(),
        stdout_pipe_bytes: 0,
        start_patience: CLI_RETRY,
        sandbox: None,
    };
    let mut handle = engine.runners.start(spec).await.map_err(|e| {
        Obstacle::new(
            NO_RUNNER,
            format!("no runner could be started: {e}"),
            "raise the limits of open files and processes",
        )
    })?;
    let run = tokio::time::timeout(CLI_LIMIT, run_to_end(&mut handle)).await;
    let is_clean = matches!(
        run,
        Ok(VersionRun::Ended(_, _, false) | VersionRun::NotStarted(_))
    );
    if !is_clean {
        // Kill a run that hangs, and sweep the processes that it left.
        handle.control.kill();
        handle.control.ended(RUNNER_END).await;
        if !engine.runners.sweep_orphans().await.is_empty() {
            engine.start_sweeping();
        }
    }
    let bin = args.claude_bin.display();
    let (code, text) = match run {
        Ok(VersionRun::Ended(code, text, _)) => (code, text),
        Ok(VersionRun::NotStarted(message)) => {
            return Err(missing(format!(
                "the CLI {bin} cannot be started: {message}"
            )));
        }
        Ok(VersionRun::RunnerDied(reason)) => {
            return Err(Obstacle::new(
                RUNNER_DIED,
                format!(
                    "the runner of {bin} --version died ({reason}), so the CLI could not be checked"
                ),
                "the check is repeated within seconds; if the runner dies again, raise the limits \
                 of memory and processes",
            ));
        }
        Err(_) => {
            return Err(missing(format!(
                "{bin} --version did not answer in {} s",
                CLI_LIMIT.as_secs()
            )));
        }
    };
    let text = String::from_utf8_lossy(&text);
    let version = text.split_whitespace().next().unwrap_or_default();
    if code != Some(0) {
        return Err(missing(format!("{bin} --version ended with {code:?}")));
    }
    if args.claude_version != "any" && version != args.claude_version {
        return Err(Obstacle::new(
            "cli-version",
            format!(
                "{bin} is version {version:?}, not {:?}",
                args.claude_version
            ),
            format!(
                "{remedy}; or, if you know that this version works, set --claude-version {version}"
            ),
        ));
    }
    Ok(())
}

/// Waits until the runner reports the end of the CLI or dies. Keeps the first 64 KiB of stdout, and
/// discards the rest and all of stderr.
async fn run_to_end(handle: &mut runner::Handle) -> VersionRun {
    const MAX_BYTES: usize = 64 * 1024;
    let runner::Handle {
        stdout,
        stderr,
        events,
        ..
    } = handle;
    let mut text = Vec::new();
    let (mut out, mut err) = ([0; 4096], [0; 4096]);
    let (mut out_open, mut err_open) = (true, true);
    let mut failure = None;
    loop {
        tokio::select! {
            n = stdout.read(&mut out), if out_open => match n {
                Ok(n) if n > 0 => {
                    let room = MAX_BYTES.saturating_sub(text.len());
                    text.extend_from_slice(&out[..n.min(room)]);
                }
                _ => out_open = false,
            },
            n = stderr.read(&mut err), if err_open => err_open = n.is_ok_and(|n| n > 0),
            event = events.next() => match event {
                Some(runner::Event::SpawnFailed { message }) => {
                    return VersionRun::NotStarted(message);
                }
                Some(runner::Event::Done { code, unkillable, .. }) => {
                    let _ = stdout.drain_available(|bytes| text.extend_from_slice(bytes));
                    return VersionRun::Ended(code, text, !unkillable.is_empty());
                }
                Some(runner::Event::Failed { message }) => failure = Some(message),
                Some(_) => {}
                None => {
                    let reason = failure.unwrap_or_else(|| events.runner_end());
                    return VersionRun::RunnerDied(reason);
                }
            },
        }
    }
}
