//! The periodic checks behind readiness. The CLI is checked at the start, after an execution failed
//! to start, and every 5 minutes. Folders and disks are checked every 3 seconds.

mod cli;
mod disks;
mod requirements;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::readiness::{NO_RUNNER, RUNNER_DIED};
use cli::{CLI_RETRY, check_cli};
use disks::check_disks;
use requirements::Requirements;

/// The time between two checks of the CLI when nothing has failed. Each check starts the CLI, so it
/// is not done for every request; `/health/ready` answers from the last check (docs/protocol.md,
/// "Calls").
const CLI_INTERVAL: Duration = Duration::from_secs(300);
/// The pause between two checks of folders and disks. They start no process, so they can run often.
const DISK_INTERVAL: Duration = Duration::from_secs(3);
/// The time after which a check of the disks that has not ended makes the service not ready.
const DISK_LIMIT: Duration = Duration::from_secs(10);

/// Checks the CLI, the folders and the disks periodically, and stores the obstacles in the engine's
/// readiness. A failed start of an execution triggers a check of the CLI immediately. Returns when
/// `stop` is cancelled.
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
                engine.readiness.forget_refusal();
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
