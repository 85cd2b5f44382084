//! The part of this crate that runs in claude-api, the parent of all runner processes. It starts
//! runners, sends them commands, receives their reports, and kills the processes of dead ones.

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

pub use commands::CommandSender;
pub use events::Events;
pub use handle::Handle;
pub use pipes::{Drained, Stderr, Stdin, Stdout};

use crate::wire::Unkillable;

/// Prepares this process (claude-api) to be the parent of runner processes. Call this once, before
/// the first runner is started.
///
/// - Makes this process a child subreaper (`PR_SET_CHILD_SUBREAPER`, prctl(2)). When a runner dies,
///   its processes become children of this process, where [`Runners::sweep_orphans`] finds them.
/// - Makes this process non-dumpable (`PR_SET_DUMPABLE`), so that tools of the same user cannot
///   read the credentials in its memory.
///
/// # Errors
/// A message for the log. The service can continue. If the first step failed, the processes of a
/// killed runner become children of init and are not found. If the second failed, tools can read
/// credentials from the memory of this process.
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

/// Starts runner processes, one per execution, and kills the processes that a dead runner left. A
/// runner is the process that starts, signals and reaps the CLI and its tools. Cheap to clone.
///
/// All values of this type share one list of live runners, because the children belong to the
/// process.
#[derive(Clone, Debug)]
pub struct Runners {
    /// The path of the program that is started with the argument `runner`.
    runner_exe: std::sync::Arc<PathBuf>,
    /// The Tokio runtime whose tasks reap the runners and kill orphans.
    runtime: runtime::Handle,
}

impl Runners {
    /// Creates a starter of runner processes. `runner_exe` is the program to start, which must call
    /// [`crate::main`] if its only argument is `runner`. claude-api passes its own path as
    /// `/proc/self/exe`, which stays correct when an upgrade replaces the file.
    ///
    /// The caller's Tokio runtime reaps all runners and kills orphans, even for runners that were
    /// started from another runtime. It must outlive them.
    ///
    /// # Panics
    /// If called outside of a Tokio runtime.
    #[must_use]
    pub fn new(runner_exe: PathBuf) -> Self {
        Self {
            runner_exe: std::sync::Arc::new(runner_exe),
            runtime: runtime::Handle::current(),
        }
    }

    /// Reaps dead processes that the kernel made children of this process, as PID 1 of a container
    /// must. An example is the child of a container health check that was killed. Processes that
    /// are still alive (orphans of a dead runner) are not touched; [`Self::sweep_orphans`] kills
    /// them.
    ///
    /// Runs forever. If the call is dropped, dead children stay zombies until the next sweep.
    ///
    /// # Errors
    /// SIGCHLD, the signal that reports the death of a child, cannot be watched.
    pub async fn reap_as_init(&self) -> std::io::Result<()> {
        let mut died = signal(SignalKind::child())?;
        loop {
            // Listing the children may block on a busy process table.
            let _ = self.runtime.spawn_blocking(orphans::reap_dead).await;
            died.recv().await;
        }
    }

    /// Kills (SIGKILL) and reaps the processes that dead runners left. They became children of this
    /// process, which requires [`init_parent`]. Every child that is not a live runner is killed, so
    /// start every process through a runner.
    ///
    /// Returns the processes that survived SIGKILL; normally none. Takes at most 60 s, and that
    /// long only if the orphans keep starting processes that can be neither stopped nor killed. If
    /// the call is dropped, a blocking thread still finishes the work.
    pub async fn sweep_orphans(&self) -> Vec<Unkillable> {
        self.runtime
            .spawn_blocking(orphans::sweep)
            .await
            .unwrap_or_default()
    }
}
