//! The checks behind readiness: the CLI at the start, after a failed spawn and every 5 minutes;
//! folders and disks every few seconds.

mod requirements;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spool::blocking::Work;
use tokio_util::sync::CancellationToken;

use crate::config::{HookMode, Hooks};
use crate::engine::Engine;
use crate::readiness::{MISSING, NO_RUNNER, Obstacle, RUNNER_DIED, no_room, unwritable};
use requirements::{ROOM_BYTES, Requirements};

/// The shortest time between two starts of the CLI for a check. `/health/ready` answers from the
/// last check (docs/protocol.md, "Calls").
const CLI_INTERVAL: Duration = Duration::from_secs(300);
/// The pause after an inconclusive check of the CLI: its runner did not start, or died.
const CLI_RETRY: Duration = Duration::from_secs(5);
/// The time limit for the end of a check's runner after the command to kill its process tree.
const RUNNER_END: Duration = Duration::from_secs(5);
/// The time limit of a check of the CLI (`claude --version`): a cold start on a busy machine takes
/// seconds.
const CLI_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two checks of folders and disks.
const DISK_INTERVAL: Duration = Duration::from_secs(3);
/// The time after which a check of the disks counts as hanging.
const DISK_LIMIT: Duration = Duration::from_secs(10);
/// The code of the obstacle for a disk that does not answer.
const HANGS: &str = "disk-hangs";

/// Returns the obstacle for an error of the spool: `spool-unwritable`, or `no-room` for a full
/// disk.
fn unwritable_or_full(error: &str) -> Obstacle {
    if error.contains("cannot be written") && !error.contains("No space left") {
        unwritable(error)
    } else {
        no_room(error)
    }
}

/// Checks the CLI, the folders and the disks again and again, and caches the obstacles in the
/// engine's readiness. Ends at `stop`.
pub(crate) async fn keep_checking(engine: Arc<Engine>, stop: CancellationToken) {
    let mut requirements = check_disks(&engine, Requirements::default(), DISK_LIMIT).await;
    let mut cli_due = tokio::time::Instant::now();
    // Whether a failed spawn requested this check.
    let mut requested = false;
    loop {
        if tokio::time::Instant::now() >= cli_due {
            // Dropping the check ends its runner, which kills its process tree.
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                result = check_cli(&engine) => result,
            };
            if let Err(obstacle) = &result {
                tracing::warn!(code = obstacle.code, "{}", obstacle.message);
            }
            // A failed or killed runner proves nothing about the CLI.
            let inconclusive = [NO_RUNNER, RUNNER_DIED];
            let is_conclusive = result
                .as_ref()
                .err()
                .is_none_or(|o| !inconclusive.contains(&o.code));
            if is_conclusive || !engine.readiness.startup().is_empty() {
                engine.readiness.set_cli(result);
            }
            let pause = if is_conclusive {
                CLI_INTERVAL
            } else {
                CLI_RETRY
            };
            cli_due = tokio::time::Instant::now() + pause;
            if !requested {
                // A refused credential may have been made valid by its issuer.
                engine.readiness.credential_worked();
            }
            requested = false;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.readiness.recheck.notified() => {
                cli_due = tokio::time::Instant::now();
                requested = true;
            }
            () = tokio::time::sleep(DISK_INTERVAL) => {
                requirements = check_disks(&engine, requirements, DISK_LIMIT).await;
            }
        }
    }
}

/// Checks disks, folders and other requirements once. Returns the state for the next check. A disk
/// that has not answered after `limit` is an obstacle until it answers.
async fn check_disks(
    engine: &Arc<Engine>,
    mut requirements: Requirements,
    limit: Duration,
) -> Requirements {
    let inner = Arc::clone(engine);
    let mut check = Work::begin(move || {
        let disk = inner
            .registry
            .check_writable(ROOM_BYTES)
            .err()
            .map(|e| unwritable_or_full(&e));
        let environment = &inner.environment;
        let mut folders = Vec::new();
        let mut required = vec![
            (
                "workspace root",
                inner.settings.args.workspace_root.clone(),
                "set --workspace-root to a folder that the service may write",
            ),
            (
                "CLI's configuration",
                environment.config_dir(),
                "set HOME or CLAUDE_CONFIG_DIR to a folder that the service may write",
            ),
        ];
        let remedy = "mount a writable /tmp, or set TMPDIR and CLAUDE_CODE_TMPDIR";
        let temporary = environment.temporary_dirs().into_iter();
        required.extend(temporary.map(|dir| ("temporary", dir, remedy)));
        for (what, path, remedy) in required {
            if let Err(error) = check_writable(&path) {
                folders.push(Obstacle::new(
                    "folder-unwritable",
                    format!(
                        "the {what} folder {} cannot be written: {error}",
                        path.display()
                    ),
                    remedy,
                ));
            }
        }
        let mut unmet = requirements.check(environment, &inner.settings.args);
        unmet.extend(required_hook(&inner.settings.hooks));
        (disk, folders, unmet, requirements)
    });
    let checked = match tokio::time::timeout(limit, check.answer()).await {
        Ok(checked) => checked,
        Err(_) => {
            let hangs = Obstacle::new(
                HANGS,
                format!("a disk has not answered for {} s", limit.as_secs()),
                "see that the disks of the spool, the workspaces and the CLI's home work",
            );
            engine.readiness.set_disk(Some(hangs));
            check.answer().await
        }
    };
    let Ok((disk, folders, unmet, requirements)) = checked else {
        return Requirements::default();
    };
    engine.readiness.set_disk(disk);
    engine.readiness.set_folders(folders);
    engine.readiness.set_unmet(unmet);
    requirements
}

/// Returns an obstacle if the required before hook cannot be run: it would refuse every execution.
fn required_hook(hooks: &Hooks) -> Option<Obstacle> {
    let hook = hooks.before.as_ref()?;
    let message = (hook.mode == HookMode::Required).then(|| hook.obstacle())??;
    let remedy =
        "put the program back, or change the settings of hooks and start the service again";
    Some(Obstacle::new("hook-missing", message, remedy))
}

/// Creates a missing folder, and checks that this user may write it.
fn check_writable(dir: &Path) -> std::io::Result<()> {
    crate::cli::create_private(dir)?;
    rustix::fs::access(
        dir,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )?;
    Ok(())
}

/// The end of a run of `claude --version`, which checks the CLI.
enum VersionRun {
    /// The CLI ended: its exit code, its stdout, and whether processes are left.
    Ended(Option<i32>, Vec<u8>, bool),
    /// The CLI could not be started, for this reason.
    NotStarted(String),
    /// The runner died, for this reason.
    RunnerDied(String),
}

/// Checks that the CLI can be started and has the expected version; otherwise returns the obstacle.
/// Runs `claude --version` through a runner, as the service starts every process. No process of the
/// check is left when the function returns.
async fn check_cli(engine: &Arc<Engine>) -> Result<(), Obstacle> {
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
            .for_execution(&std::collections::BTreeMap::new()),
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

/// Waits until the runner reports the end of the CLI, and keeps at most 64 KiB of its stdout.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::open;

    #[test]
    fn a_disk_that_hangs_is_an_obstacle_until_it_answers() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let service = open(dir.path());
            let is_reported = || {
                service
                    .engine
                    .readiness
                    .obstacles()
                    .iter()
                    .any(|o| o.code == HANGS)
            };
            // The only thread for disk work is busy, as on a disk that hangs.
            let (release, hangs) = std::sync::mpsc::channel::<()>();
            let mut busy = Work::begin(move || hangs.recv());
            let check = check_disks(
                &service.engine,
                Requirements::default(),
                Duration::from_millis(20),
            );
            let report = async {
                while !is_reported() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                release.send(()).unwrap();
            };
            let both = async { tokio::join!(check, report) };
            let limit = Duration::from_secs(10);
            assert!(
                tokio::time::timeout(limit, both).await.is_ok(),
                "the obstacle is reported"
            );
            assert!(!is_reported(), "the disk answers again");
            busy.answer().await.unwrap().unwrap();
        });
    }
}
