//! The part of this crate that runs in claude-api, the parent of all runner processes.

mod commands;
mod events;
mod handle;
mod orphans;
mod pipes;
mod quota;
mod registry;
mod start;

use std::path::PathBuf;

use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

pub use commands::Control;
pub use events::Events;
pub use handle::Handle;
pub use pipes::{Drained, Stderr, Stdin, Stdout};

use crate::wire::Unkillable;

/// Prepares claude-api to have runners. Makes this process a child subreaper: when a runner dies,
/// its processes become children of this process, so [`Runners::sweep_orphans`] finds them. Also
/// hides this process's memory, which has credentials, from tools of the same user. Call this once,
/// at the start.
///
/// # Errors
/// A message for the log. The service can continue: without the first step, a killed runner leaves
/// its processes to init; without the second, tools can read credentials from this process.
pub fn init_parent() -> Result<(), String> {
    let reaper = set_child_subreaper(Some(getpid()))
        .map_err(|error| format!("could not become a child subreaper: {error}"));
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("memory is readable by processes of the same user: {error}"));
    match (reaper, hidden) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(one), Ok(())) | (Ok(()), Err(one)) => Err(one),
        (Err(one), Err(two)) => Err(format!("{one}; {two}")),
    }
}

/// Starts runner processes, one per execution, and cleans up after dead ones. Cheap to clone.
///
/// All values of this type share the process's one list of live runners.
#[derive(Clone, Debug)]
pub struct Runners {
    runner_exe: std::sync::Arc<PathBuf>,
    /// The Tokio runtime whose tasks reap the runners and sweep their orphans.
    runtime: runtime::Handle,
}

impl Runners {
    /// Creates the starter of runners. `runner_exe` is a program that calls [`crate::main`] if its
    /// only argument is `runner`. claude-api passes its own path; `/proc/self/exe` stays correct
    /// when an upgrade replaces the file.
    ///
    /// The caller's runtime reaps all runners and sweeps, even for runners started from another
    /// runtime, so it must outlive them.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn new(runner_exe: PathBuf) -> Self {
        Self {
            runner_exe: std::sync::Arc::new(runner_exe),
            runtime: runtime::Handle::current(),
        }
    }

    /// Reaps dead processes that the kernel made children of this process, as PID 1 of a container
    /// must; for example those of a killed container health check. Live ones (orphans) continue
    /// until [`Self::sweep_orphans`].
    ///
    /// Runs forever. After a cancellation, the next sweep reaps the remaining orphans.
    ///
    /// # Errors
    /// SIGCHLD cannot be watched.
    pub async fn reap_as_init(&self) -> std::io::Result<()> {
        let mut died = signal(SignalKind::child())?;
        loop {
            // Listing the children may block on a busy process table.
            let _ = self.runtime.spawn_blocking(orphans::reap_dead).await;
            died.recv().await;
        }
    }

    /// Kills and reaps the processes that dead runners left, which became children of this process.
    /// Requires [`init_parent`]. Every child that is not a live runner is killed, so start every
    /// process through a runner.
    ///
    /// Returns the processes that survived SIGKILL, after at most 60 s. It takes that long only if
    /// orphans keep starting processes that can be neither stopped nor killed. After a
    /// cancellation, a blocking thread finishes the work.
    pub async fn sweep_orphans(&self) -> Vec<Unkillable> {
        self.runtime
            .spawn_blocking(orphans::sweep)
            .await
            .unwrap_or_default()
    }
}
