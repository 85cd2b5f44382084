//! An obstacle to executions, with its remedy.

use serde::Serialize;

/// The code of the obstacle for a CLI that cannot be started.
pub(crate) const MISSING: &str = "cli-missing";
/// The code of the obstacle for a check of the CLI whose runner (the process that starts the CLI)
/// could not be started.
pub(crate) const NO_RUNNER: &str = "no-runner";
/// The code of the obstacle for a check of the CLI whose runner died.
pub(crate) const RUNNER_DIED: &str = "runner-died";

/// A condition that keeps executions from starting, or a warning, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The stable, machine-readable code.
    pub code: &'static str,
    /// The description of the problem.
    pub message: String,
    /// The action that removes the problem.
    pub remedy: String,
}

impl Obstacle {
    pub(crate) fn new(
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// Returns the obstacle of a spool that cannot be written.
pub(crate) fn unwritable(error: &str) -> Obstacle {
    Obstacle::new(
        "spool-unwritable",
        format!("the spool cannot be written: {error}"),
        "see that --spool-dir is mounted, writable for this user and not full",
    )
}

/// Returns the obstacle of a full disk of the spool.
pub(crate) fn no_room(message: &str) -> Obstacle {
    Obstacle::new(
        "no-room",
        message,
        "free some space, or lower --retention-bytes and --kept-bytes",
    )
}
