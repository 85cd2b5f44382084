//! The side of the runners that lives in claude-api.

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

/// Makes this process a child subreaper, so that a dead runner's orphans come here and [`Runners::sweep_orphans`] can
/// find them, and hides its memory from tools of the same user. Once, at the start.
///
/// # Errors
/// What did not work, as a text for the log. Not fatal: without the first, a runner killed with -9 leaves processes to
/// init; without the second, tools can read credentials from this process.
pub fn init_parent() -> Result<(), String> {
    let reaper = set_child_subreaper(Some(getpid()))
        .map_err(|error| format!("not a child subreaper: {error}"));
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("memory is readable by processes of the same user: {error}"));
    match (reaper, hidden) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(one), Ok(())) | (Ok(()), Err(one)) => Err(one),
        (Err(one), Err(two)) => Err(format!("{one}; {two}")),
    }
}

/// Starts runners and cleans up after those that died. Cheap to clone.
///
/// The list of live runners is one per process, as the children are: two values of this type know each other's.
#[derive(Clone, Debug)]
pub struct Runners {
    runner_exe: std::sync::Arc<PathBuf>,
    /// Reaps the runners, and sweeps.
    runtime: runtime::Handle,
}

impl Runners {
    /// `runner_exe` is a program that calls [`crate::main`] when its only argument is `runner`; claude-api gives its own
    /// path (`/proc/self/exe` stays right when the file is replaced by an upgrade).
    ///
    /// The runtime of the caller reaps all runners and sweeps, whichever runtime they are started from, so it must outlive them.
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

    /// Reaps dead orphans as they come, which PID 1 of a container has to do: the kernel gives it
    /// what others leave, for example a check of the container's health that was killed. Live ones
    /// go on until a sweep.
    ///
    /// Runs for ever. A cancellation leaves the rest to the next sweep.
    ///
    /// # Errors
    /// SIGCHLD cannot be watched.
    pub async fn reap_as_init(&self) -> std::io::Result<()> {
        let mut died = signal(SignalKind::child())?;
        loop {
            // A look at the children may block on a busy process table.
            let _ = self.runtime.spawn_blocking(orphans::reap_dead).await;
            died.recv().await;
        }
    }

    /// Kills and reaps every child of this process that is no live runner: what a dead runner left. It needs
    /// [`init_parent`]. Everything else this process starts must be started through a runner, or it ends here.
    ///
    /// Returns the processes that outlived SIGKILL, after 60 s at most; it takes so long only while
    /// orphans start new processes that can be neither stopped nor killed. It waits for single
    /// process ids, never for any child, which would steal tokio's children. After a cancellation a
    /// blocking thread finishes the work.
    pub async fn sweep_orphans(&self) -> Vec<Unkillable> {
        self.runtime
            .spawn_blocking(orphans::sweep)
            .await
            .unwrap_or_default()
    }
}
