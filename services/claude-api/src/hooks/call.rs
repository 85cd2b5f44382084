//! One run of a hook (a program of the operator), from its start to the end of its last process.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::Status;
use runner::{Event, Handle};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::cli::{self, SHORTAGE_RETRY};
use crate::config::Hook;
use crate::engine::Engine;

/// The maximum number of bytes of a hook's stderr that are kept for warnings and errors. Only the
/// last bytes are kept.
const STDERR_BYTES: usize = 4 * 1024;
/// How long the runner of an interrupted hook may take to kill the hook's process tree. After that,
/// the runner itself is killed.
const RUNNER_END: Duration = Duration::from_secs(4);

/// The outcome of one run of a hook, a program of the operator.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// The hook exited with code 0.
    Succeeded,
    /// The hook could not be started, exited with another code, was ended by a signal, or reached
    /// its time limit.
    Failed(Failure),
    /// The caller ended the run early, because its `halt` future resolved with this value.
    Halted(T),
}

/// The failure of a hook. An advisory hook's failure becomes a warning in the execution's status. A
/// required hook's failure becomes the execution's error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// The failure in words, for people, with the end of the hook's stderr.
    pub(crate) message: String,
    /// The end of the hook's stderr, at most 4 KiB, without surrounding white space.
    pub(crate) stderr: String,
    /// The details for programs, as JSON: the hook (`before` or `after`), its mode and the cause.
    pub(crate) data: Value,
}

impl Failure {
    /// Creates the failure of `hook`. `cause` is a stable name for programs, such as `exit_code`.
    /// `what` completes the sentence "the hook ...". `stderr` is the end of the hook's stderr.
    pub(crate) fn new(hook: &Hook, cause: &str, what: &str, stderr: &[u8]) -> Self {
        let stderr = String::from_utf8_lossy(stderr).trim().to_owned();
        let (moment, mode) = (hook.moment.as_str(), hook.mode.as_str());
        let mut message = format!("the {mode} {moment} hook {what}");
        if !stderr.is_empty() {
            message = format!("{message}: {stderr}");
        }
        Self {
            message,
            stderr,
            data: json!({ "hook": moment, "mode": mode, "cause": cause }),
        }
    }

    /// Adds this failure to a status as the warning `hook_failed`.
    pub(crate) fn warn(self, status: &mut Status, at: jiff::Timestamp) {
        status.warn(at, "hook_failed", self.message, self.data);
    }
}

/// Runs a hook with `status` as one line of JSON on its stdin, in the workspace of the execution.
///
/// The run ends when the hook exits, after the time limit of the settings, or when `halt` resolves.
/// Then the hook's whole process tree is killed, and the function returns once it has been reaped.
/// The memory is bounded: stdout is discarded, and only the last [`STDERR_BYTES`] of stderr are
/// kept.
///
/// Dropping the future also kills the process tree, but does not wait for its end.
pub(crate) async fn call<T>(
    engine: &Arc<Engine>,
    hook: &Hook,
    status: &Status,
    halt: impl Future<Output = T>,
) -> Ended<T> {
    let limit = engine.settings.hooks.limit;
    let mut run = Run::default();
    let ended = tokio::select! {
        // A halt decides, even when the hook ends at the same time.
        biased;
        halted = halt => Err(Some(halted)),
        ended = run.follow(engine, hook, status) => Ok(ended),
        () = tokio::time::sleep(limit) => Err(None),
    };
    run.clean_up(engine).await;
    let failed = |cause, what: &str| Ended::Failed(Failure::new(hook, cause, what, &run.stderr));
    match ended {
        Ok(Ok(())) => Ended::Succeeded,
        Ok(Err((cause, what))) => failed(cause, &what),
        Err(Some(halted)) => Ended::Halted(halted),
        Err(None) => failed(
            "timed_out",
            &format!(
                "was killed after its time limit of {} ms",
                limit.as_millis()
            ),
        ),
    }
}

/// The state of one run of a hook. If [`Run::follow`] is interrupted, [`Run::clean_up`] waits for
/// the hook's processes to end.
#[derive(Default)]
struct Run {
    /// The runner of the hook's process tree. `None` before the start, and once no process of the
    /// hook is left.
    runner: Option<runner::CommandSender>,
    /// The last bytes of the hook's stderr.
    stderr: Vec<u8>,
}

impl Run {
    /// Starts the hook, writes the status to its stdin, and waits for its end. Returns `Ok` if it
    /// exited with code 0. Not cancel safe: [`Run::clean_up`] must follow.
    ///
    /// # Errors
    /// The stable name of the cause, and the failure in words.
    async fn follow(
        &mut self,
        engine: &Arc<Engine>,
        hook: &Hook,
        status: &Status,
    ) -> Result<(), (&'static str, String)> {
        let not_started = |reason: &str| ("not_started", format!("could not be started: {reason}"));
        let cwd = workspace(engine, &status.workspace)
            .await
            .map_err(|error| not_started(&format!("workspace {:?}: {error}", status.workspace)))?;
        let handle = start(engine, hook, cwd)
            .await
            .map_err(|error| not_started(&format!("no runner: {error}")))?;
        let Handle {
            mut stdin,
            mut stdout,
            mut stderr,
            control,
            mut events,
        } = handle;
        self.runner = Some(control);
        let mut line = status.to_json(engine.status_bytes());
        line.push(b'\n');
        // A hook need not read its stdin, so a failed write is no failure of the hook.
        let write = async move {
            let _ = stdin.write_all(&line).await;
        };
        let mut write = std::pin::pin!(write);
        let (mut writing, mut out_open, mut err_open) = (true, true, true);
        let (mut out, mut err) = (vec![0; 64 * 1024], vec![0; 4 * 1024]);
        loop {
            tokio::select! {
                // A flood of output must not delay the few reports of the runner.
                biased;
                event = events.next() => match event {
                    Some(Event::SpawnFailed { message }) => {
                        self.runner = None;
                        return Err(not_started(&message));
                    }
                    Some(Event::Done { code, signal, unkillable, .. }) => {
                        self.runner = None;
                        let _ = stderr.drain_available(|bytes| self.keep(bytes));
                        if !unkillable.is_empty() {
                            engine.start_sweeping();
                        }
                        return match (code, signal) {
                            (Some(0), _) => Ok(()),
                            (Some(code), _) => {
                                Err(("exit_code", format!("ended with code {code}")))
                            }
                            (None, signal) => {
                                let signal = signal.unwrap_or_default();
                                Err(("signal", format!("was ended by signal {signal}")))
                            }
                        };
                    }
                    Some(_) => {}
                    None => {
                        let end = events.runner_end();
                        return Err(("runner_died", format!("lost its runner ({end})")));
                    }
                },
                () = &mut write, if writing => writing = false,
                count = stderr.read(&mut err), if err_open => match count {
                    Ok(count) if count > 0 => self.keep(&err[..count]),
                    _ => err_open = false,
                },
                count = stdout.read(&mut out), if out_open => {
                    out_open = count.is_ok_and(|count| count > 0);
                }
            }
        }
    }

    /// Appends bytes of stderr and drops the oldest, so that at most [`STDERR_BYTES`] are kept.
    fn keep(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        let excess = self.stderr.len().saturating_sub(STDERR_BYTES);
        self.stderr.drain(..excess);
    }

    /// Waits until all processes of an interrupted run have ended. The runner kills them, because
    /// the end of [`Run::follow`] closed the runner's socket. Does nothing after a run that ended
    /// normally.
    async fn clean_up(&mut self, engine: &Arc<Engine>) {
        let Some(runner) = self.runner.take() else {
            return;
        };
        runner.ended(RUNNER_END).await;
        if !engine.runners.sweep_orphans().await.is_empty() {
            engine.start_sweeping();
        }
    }
}

/// Returns the folder of a workspace. A missing folder is created.
async fn workspace(engine: &Arc<Engine>, name: &str) -> io::Result<PathBuf> {
    let args = &engine.settings.args;
    let root = args.workspace_root.clone();
    let default_folder = args.default_workspace.clone();
    let name = name.to_owned();
    let find = move || cli::workspace(&root, default_folder.as_deref(), &name);
    spool::blocking::run(find).await?
}

/// Starts the runner of a hook. Retries as long as the machine is short of file descriptors,
/// processes or memory; the caller's time limit ends the retries.
async fn start(engine: &Arc<Engine>, hook: &Hook, cwd: PathBuf) -> io::Result<Handle> {
    let spec = runner::Spec {
        program: hook.program.clone(),
        args: Vec::new(),
        env: engine.environment.for_hook(),
        cwd,
        stdout_pipe_bytes: 0,
        start_patience: engine.settings.hooks.limit,
        sandbox: None,
    };
    loop {
        match engine.runners.start(spec.clone()).await {
            Err(error) if cli::is_shortage(&error) => tokio::time::sleep(SHORTAGE_RETRY).await,
            started => return started,
        }
    }
}
