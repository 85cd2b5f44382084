//! The periodic check of disks, folders and the other requirements of an execution.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spool::blocking::Work;

use super::requirements::{ROOM_BYTES, Requirements};
use crate::config::{HookMode, Hooks};
use crate::engine::Engine;
use crate::readiness::{Obstacle, no_room, unwritable};

/// The code of the obstacle for a disk that has not answered in time, such as a lost network disk.
const HANGS: &str = "disk-hangs";

/// Converts an error of the spool's check into an obstacle: `no-room` for a full disk, otherwise
/// `spool-unwritable`.
fn unwritable_or_full(error: &str) -> Obstacle {
    if error.contains("cannot be written") && !error.contains("No space left") {
        unwritable(error)
    } else {
        no_room(error)
    }
}

/// Checks disks, folders and other requirements once, and stores the obstacles in the engine's
/// readiness. Returns the requirements with their cache, for the next check. If a disk does not
/// answer within `limit`, the service is not ready, and the function waits until the disk answers.
pub(super) async fn check_disks(
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
        let missing = crate::sandbox::warnings(&inner.settings.args, inner.readiness.uses_login());
        inner
            .readiness
            .set_checked(environment.credential(), &missing);
        inner.count_budgets();
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

/// Returns an obstacle if the operator's required before hook cannot be run, because it would make
/// every execution fail. `None` if it can be run, or if no required hook is set.
fn required_hook(hooks: &Hooks) -> Option<Obstacle> {
    let hook = hooks.before.as_ref()?;
    let message = (hook.mode == HookMode::Required).then(|| hook.obstacle())??;
    let remedy =
        "put the program back, or change the settings of hooks and start the service again";
    Some(Obstacle::new("hook-missing", message, remedy))
}

/// Creates a missing folder, and checks that this user may create files in it (access(2)).
fn check_writable(dir: &Path) -> std::io::Result<()> {
    crate::cli::create_private(dir)?;
    rustix::fs::access(
        dir,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )?;
    Ok(())
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
