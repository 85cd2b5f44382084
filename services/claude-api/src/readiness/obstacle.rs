//! An obstacle: a condition that keeps executions from starting, with its remedy.

use serde::Serialize;

/// The code of the obstacle for a CLI that cannot be started, fails, or does not answer in time.
pub(crate) const MISSING: &str = "cli-missing";
/// The code of the obstacle for a check of the CLI whose runner (the helper process that starts the
/// CLI) could not be started. It says nothing about the CLI itself.
pub(crate) const NO_RUNNER: &str = "no-runner";
/// The code of the obstacle for a check of the CLI whose runner died before the CLI ended. It says
/// nothing about the CLI itself.
pub(crate) const RUNNER_DIED: &str = "runner-died";

/// A condition that keeps executions from starting, or a missing protection, for operators.
/// `/health/ready` returns it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The stable name of the condition, for programs, such as `cli-missing`.
    pub code: &'static str,
    /// The description of the problem, for people.
    pub message: String,
    /// The action that removes the problem, for people.
    pub remedy: String,
}

impl Obstacle {
    /// Creates an obstacle from its stable code, its description and its remedy.
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

/// Returns the obstacle `spool-unwritable`: writing to the spool failed with `error`.
pub(crate) fn unwritable(error: &str) -> Obstacle {
    Obstacle::new(
        "spool-unwritable",
        format!("the spool cannot be written: {error}"),
        "see that --spool-dir is mounted, writable for this user and not full",
    )
}

/// Returns the obstacle `no-room` for a full disk of the spool. `message` describes it.
pub(crate) fn no_room(message: &str) -> Obstacle {
    Obstacle::new(
        "no-room",
        message,
        "free some space, or lower --retention-bytes and --kept-bytes",
    )
}
