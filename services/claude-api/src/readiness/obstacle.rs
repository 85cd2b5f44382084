//! What stands in the way of an execution.

use serde::Serialize;

/// The code of a CLI that cannot be started.
pub(crate) const MISSING: &str = "cli-missing";
/// The code of a check whose runner could not be started.
pub(crate) const NO_RUNNER: &str = "no-runner";
/// The code of a check whose runner died.
pub(crate) const RUNNER_DIED: &str = "runner-died";

/// One thing that stands in the way, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// Machine-readable, stable.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
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

pub(crate) fn unwritable(what: &str) -> Obstacle {
    Obstacle::new(
        "spool-unwritable",
        format!("the spool cannot be written: {what}"),
        "see that --spool-dir is mounted, writable for this user and not full",
    )
}

pub(crate) fn no_room(what: &str) -> Obstacle {
    Obstacle::new(
        "no-room",
        what,
        "free some space, or lower --retention-bytes and --kept-bytes",
    )
}
