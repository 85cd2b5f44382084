//! The checks themselves: the CLI at start, after a failed spawn and every 5 minutes; folders and disk every few seconds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Obstacle;
use crate::service::Service;

/// How often the CLI is started for a check, at most (contract, `/health/ready`).
const CLI_INTERVAL: Duration = Duration::from_secs(300);
/// How long `--version` may take: a cold start on a busy machine takes seconds.
const CLI_LIMIT: Duration = Duration::from_secs(60);
/// How often folders and disk are looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(3);
/// Room that an execution needs to be recorded, bytes.
const ROOM_BYTES: u64 = 16 * 1024 * 1024;

/// The code of a CLI that cannot be started.
pub(super) const MISSING: &str = "cli-missing";

pub(super) fn unwritable(what: &str) -> Obstacle {
    Obstacle::new(
        "spool-unwritable",
        format!("the spool cannot be written: {what}"),
        "see that --spool-dir is mounted, writable for this user and not full",
    )
}

fn unwritable_or_full(what: &str) -> Obstacle {
    if what.contains("cannot be written") && !what.contains("No space left") {
        unwritable(what)
    } else {
        no_room(what)
    }
}

pub(super) fn no_room(what: &str) -> Obstacle {
    Obstacle::new(
        "no-room",
        what,
        "free some space, or lower --retention-bytes and --kept-bytes",
    )
}

/// Runs until `stop`.
pub(crate) async fn keep_checking(service: Arc<Service>, stop: CancellationToken) {
    look_at_disk(&service).await;
    let mut cli_due = tokio::time::Instant::now();
    // Whether a failed spawn asked for this check.
    let mut asked = false;
    loop {
        if tokio::time::Instant::now() >= cli_due {
            let result = check_cli(&service).await;
            if let Err(obstacle) = &result {
                tracing::warn!(code = obstacle.code, "{}", obstacle.message);
            }
            // A machine short of descriptors says nothing of the CLI.
            let tells = result.as_ref().err().is_none_or(|o| o.code != "no-runner");
            if tells || !service.readiness.startup().is_empty() {
                service.readiness.set_cli(result);
            }
            cli_due = tokio::time::Instant::now() + CLI_INTERVAL;
            if !asked {
                // What was refused may have been set right at the other end.
                service.readiness.credential_worked();
            }
            asked = false;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = service.readiness.recheck.notified() => {
                cli_due = tokio::time::Instant::now();
                asked = true;
            }
            () = tokio::time::sleep(DISK_INTERVAL) => look_at_disk(&service).await,
        }
    }
}

async fn look_at_disk(service: &Arc<Service>) {
    let inner = Arc::clone(service);
    let looked = tokio::task::spawn_blocking(move || {
        let disk = inner
            .spool
            .check_writable(ROOM_BYTES)
            .err()
            .map(|e| unwritable_or_full(&e));
        let environment = &inner.environment;
        let mut folders = Vec::new();
        let tmp = environment
            .get("CLAUDE_CODE_TMPDIR")
            .or(environment.get("TMPDIR"))
            .unwrap_or("/tmp");
        for (what, path, remedy) in [
            (
                "workspace root",
                inner.settings.args.workspace_root.as_path(),
                "set --workspace-root to a folder that the service may write",
            ),
            (
                "CLI's configuration",
                &environment.config_dir(),
                "set HOME or CLAUDE_CONFIG_DIR to a folder that the service may write",
            ),
            (
                "temporary",
                Path::new(tmp),
                "mount a writable /tmp, or set TMPDIR",
            ),
        ] {
            if let Err(error) = writable(path) {
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
        (disk, folders)
    });
    if let Ok((disk, folders)) = looked.await {
        service.readiness.set_disk(disk);
        service.readiness.set_folders(folders);
    }
}

fn writable(dir: &Path) -> std::io::Result<()> {
    crate::cli::create_private(dir)?;
    rustix::fs::access(
        dir,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )?;
    Ok(())
}

/// Starts `claude --version` through a runner, as everything is that the service starts.
async fn check_cli(service: &Service) -> Result<(), Obstacle> {
    let args = &service.settings.args;
    let remedy = format!(
        "install the Claude CLI {} and name it with --claude-bin",
        args.claude_version
    );
    let missing = |what: String| Obstacle::new(MISSING, what, remedy.clone());
    let spec = runner::Spec {
        program: args.claude_bin.clone(),
        args: vec!["--version".to_owned()],
        env: service.environment.with(&std::collections::BTreeMap::new()),
        cwd: args.workspace_root.clone(),
        stdout_pipe_bytes: 0,
    };
    let runner::Handle {
        stdin,
        mut stdout,
        mut stderr,
        control,
        mut events,
    } = service.runners.start(spec).await.map_err(|e| {
        Obstacle::new(
            "no-runner",
            format!("no runner could be started: {e}"),
            "raise the limits of open files and processes",
        )
    })?;
    drop(stdin);
    let read = async {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        let (mut out_open, mut err_open) = (true, true);
        let mut err = [0; 4096];
        loop {
            tokio::select! {
                n = stdout.read(&mut buffer), if out_open => match n {
                    Ok(n) if n > 0 && text.len() < 65_536 => text.extend_from_slice(&buffer[..n]),
                    _ => out_open = false,
                },
                n = stderr.read(&mut err), if err_open => err_open = n.is_ok_and(|n| n > 0),
                event = events.next() => match event {
                    Some(runner::Event::SpawnFailed { message }) => return Err(message),
                    Some(runner::Event::Done { code, .. }) => {
                        while let Ok(n) = stdout.read(&mut buffer).await {
                            if n == 0 { break }
                            text.extend_from_slice(&buffer[..n]);
                        }
                        return Ok((code, text));
                    }
                    Some(_) => {}
                    None => return Err("its runner died".to_owned()),
                },
            }
        }
    };
    let bin = args.claude_bin.display();
    let (code, text) = match tokio::time::timeout(CLI_LIMIT, read).await {
        Ok(Ok(done)) => done,
        Ok(Err(message)) => {
            return Err(missing(format!(
                "the CLI {bin} cannot be started: {message}"
            )));
        }
        Err(_) => {
            control.kill();
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
