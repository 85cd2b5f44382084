//! The checks themselves: the CLI at start, after a failed spawn and every 5 minutes; folders and
//! disks every few seconds.

mod places;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spool::blocking::Work;
use tokio_util::sync::CancellationToken;

use crate::config::{HookMode, Hooks};
use crate::engine::Engine;
use crate::readiness::{MISSING, NO_RUNNER, Obstacle, RUNNER_DIED, no_room, unwritable};
use places::{Places, ROOM_BYTES};

/// The shortest time between two starts of the CLI for a check. `/health/ready` answers from the
/// last check (docs/protocol.md, "Calls").
const CLI_INTERVAL: Duration = Duration::from_secs(300);
/// The pause after an inconclusive check of the CLI: its runner did not start, or died.
const CLI_SOON: Duration = Duration::from_secs(5);
/// How long the runner of a check may take to end after its kill command.
const RUNNER_END: Duration = Duration::from_secs(5);
/// How long `--version` may take: a cold start on a busy machine takes seconds.
const CLI_LIMIT: Duration = Duration::from_secs(60);
/// How often folders and disk are looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(3);
/// How long a look at the disks may take until it counts as one that hangs.
const DISK_PATIENCE: Duration = Duration::from_secs(10);
/// The code of a disk that does not answer.
const HANGS: &str = "disk-hangs";
fn unwritable_or_full(what: &str) -> Obstacle {
    if what.contains("cannot be written") && !what.contains("No space left") {
        unwritable(what)
    } else {
        no_room(what)
    }
}

/// Runs until `stop`.
pub(crate) async fn keep_checking(engine: Arc<Engine>, stop: CancellationToken) {
    let mut places = look_at_disk(&engine, Places::default(), DISK_PATIENCE).await;
    let mut cli_due = tokio::time::Instant::now();
    // Whether a failed spawn asked for this check.
    let mut asked = false;
    loop {
        if tokio::time::Instant::now() >= cli_due {
            // Dropping the check ends its runner, which kills what it started.
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
            let tells = result
                .as_ref()
                .err()
                .is_none_or(|o| !inconclusive.contains(&o.code));
            if tells || !engine.readiness.startup().is_empty() {
                engine.readiness.set_cli(result);
            }
            let next = if tells { CLI_INTERVAL } else { CLI_SOON };
            cli_due = tokio::time::Instant::now() + next;
            if !asked {
                // What was refused may have been set right at the other end.
                engine.readiness.credential_worked();
            }
            asked = false;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.readiness.recheck.notified() => {
                cli_due = tokio::time::Instant::now();
                asked = true;
            }
            () = tokio::time::sleep(DISK_INTERVAL) => {
                places = look_at_disk(&engine, places, DISK_PATIENCE).await;
            }
        }
    }
}

/// Returns what the next look is to be given. A disk that has not answered after `patience` is an
/// obstacle until it does.
async fn look_at_disk(engine: &Arc<Engine>, mut places: Places, patience: Duration) -> Places {
    let inner = Arc::clone(engine);
    let mut looked = Work::begin(move || {
        let disk = inner
            .registry
            .check_writable(ROOM_BYTES)
            .err()
            .map(|e| unwritable_or_full(&e));
        let environment = &inner.environment;
        let mut folders = Vec::new();
        let mut wanted = vec![
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
        wanted.extend(temporary.map(|dir| ("temporary", dir, remedy)));
        for (what, path, remedy) in wanted {
            if let Err(error) = writable(&path) {
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
        let mut obstacles = places.look(environment, &inner.settings.args);
        obstacles.extend(required_hook(&inner.settings.hooks));
        (disk, folders, obstacles, places)
    });
    let looked = match tokio::time::timeout(patience, looked.answer()).await {
        Ok(looked) => looked,
        Err(_) => {
            let hangs = Obstacle::new(
                HANGS,
                format!("a disk has not answered for {} s", patience.as_secs()),
                "see that the disks of the spool, the workspaces and the CLI's home work",
            );
            engine.readiness.set_disk(Some(hangs));
            looked.answer().await
        }
    };
    let Ok((disk, folders, obstacles, places)) = looked else {
        return Places::default();
    };
    engine.readiness.set_disk(disk);
    engine.readiness.set_folders(folders);
    engine.readiness.set_places(obstacles);
    places
}

/// Returns the obstacle that every execution would be refused, because its required hook cannot be
/// run.
fn required_hook(hooks: &Hooks) -> Option<Obstacle> {
    let hook = hooks.before.as_ref()?;
    let why = (hook.mode == HookMode::Required).then(|| hook.obstacle())??;
    let remedy =
        "put the program back, or change the settings of hooks and start the service again";
    Some(Obstacle::new("hook-missing", why, remedy))
}

fn writable(dir: &Path) -> std::io::Result<()> {
    crate::cli::create_private(dir)?;
    rustix::fs::access(
        dir,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )?;
    Ok(())
}

/// The outcome of a run of `claude --version`.
enum Ran {
    /// The CLI ended: its exit code, its stdout, and whether processes are left.
    Ended(Option<i32>, Vec<u8>, bool),
    NotStarted(String),
    RunnerDied(String),
}

/// Runs `claude --version` through a runner, like everything that the service starts. No process of
/// the check is left when this returns.
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
        env: engine.environment.with(&std::collections::BTreeMap::new()),
        cwd: args.workspace_root.clone(),
        stdout_pipe_bytes: 0,
        start_patience: CLI_SOON,
        sandbox: None,
    };
    let mut handle = engine.runners.start(spec).await.map_err(|e| {
        Obstacle::new(
            NO_RUNNER,
            format!("no runner could be started: {e}"),
            "raise the limits of open files and processes",
        )
    })?;
    let ran = tokio::time::timeout(CLI_LIMIT, run_to_end(&mut handle)).await;
    if !matches!(ran, Ok(Ran::Ended(_, _, false) | Ran::NotStarted(_))) {
        // The run has ended or timed out: kill it if it hangs, and sweep what it left.
        handle.control.kill();
        handle.control.ended(RUNNER_END).await;
        if !engine.runners.sweep_orphans().await.is_empty() {
            engine.sweep_on();
        }
    }
    let bin = args.claude_bin.display();
    let (code, text) = match ran {
        Ok(Ran::Ended(code, text, _)) => (code, text),
        Ok(Ran::NotStarted(message)) => {
            return Err(missing(format!(
                "the CLI {bin} cannot be started: {message}"
            )));
        }
        Ok(Ran::RunnerDied(how)) => {
            return Err(Obstacle::new(
                RUNNER_DIED,
                format!(
                    "the runner of {bin} --version died ({how}), so the CLI could not be checked"
                ),
                "it is checked again within seconds; if this repeats, raise the limits of memory \
                 and processes",
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

/// Reads at most 64 KiB of the CLI's stdout, until its runner reports the end.
async fn run_to_end(handle: &mut runner::Handle) -> Ran {
    const MOST_BYTES: usize = 64 * 1024;
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
                    let room = MOST_BYTES.saturating_sub(text.len());
                    text.extend_from_slice(&out[..n.min(room)]);
                }
                _ => out_open = false,
            },
            n = stderr.read(&mut err), if err_open => err_open = n.is_ok_and(|n| n > 0),
            event = events.next() => match event {
                Some(runner::Event::SpawnFailed { message }) => return Ran::NotStarted(message),
                Some(runner::Event::Done { code, unkillable, .. }) => {
                    let _ = stdout.drain_available(|bytes| text.extend_from_slice(bytes));
                    return Ran::Ended(code, text, !unkillable.is_empty());
                }
                Some(runner::Event::Failed { message }) => failure = Some(message),
                Some(_) => {}
                None => return Ran::RunnerDied(failure.unwrap_or_else(|| events.runner_end())),
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
            let is_told = || {
                service
                    .engine
                    .readiness
                    .obstacles()
                    .iter()
                    .any(|o| o.code == HANGS)
            };
            // A look that gets no further, as on a disk that hangs.
            let (answers, hangs) = std::sync::mpsc::channel::<()>();
            let mut busy = Work::begin(move || hangs.recv());
            let look = look_at_disk(
                &service.engine,
                Places::default(),
                Duration::from_millis(20),
            );
            let waits = async {
                while !is_told() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answers.send(()).unwrap();
            };
            let both = async { tokio::join!(look, waits) };
            let limit = Duration::from_secs(10);
            assert!(
                tokio::time::timeout(limit, both).await.is_ok(),
                "it is told"
            );
            assert!(!is_told(), "it answers again");
            busy.answer().await.unwrap().unwrap();
        });
    }
}
