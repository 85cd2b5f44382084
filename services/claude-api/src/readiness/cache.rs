//! The results of the last checks and executions, from which readiness is answered.

use jiff::Timestamp;

use super::obstacle::Obstacle;
use crate::cli::Credential;

/// The results of the last checks. `/health/ready` and `/health/startup` are answered from them.
#[derive(Debug)]
pub(super) struct Cache {
    /// The result of the last check that the CLI can be started and has the expected version.
    pub(super) cli: Result<(), Obstacle>,
    /// An obstacle for each folder that the service cannot write.
    pub(super) folders: Vec<Obstacle>,
    /// An obstacle for each other requirement that is not met: the CLI's configuration, room on
    /// disks, the workspace, a required hook.
    pub(super) unmet: Vec<Obstacle>,
    /// The obstacle on the spool's disk, such as a full disk. `None` if the spool can be written.
    pub(super) disk: Option<Obstacle>,
    /// The credential that the model refused last. `None` if none was refused, or if an execution
    /// has succeeded since then.
    pub(super) refused: Option<Credential>,
    /// When an execution last succeeded with the credential of this service's environment.
    pub(super) worked_at: Option<Timestamp>,
    /// When that credential was last refused.
    pub(super) refused_at: Option<Timestamp>,
    /// Whether the service is shutting down.
    pub(super) stopping: bool,
    /// The effect of a route by which commands of the model, in the service's own container (the
    /// box), reach the published port. `None` if there is no such route.
    pub(super) reached: Option<Reached>,
    /// Whether clients outside the box share an address with it.
    pub(super) shared: bool,
    /// The mistake in the token file; `None` if the version on disk is in force.
    pub(super) tokens_mistake: Option<String>,
    /// The credential as the last check of the disks found it; `None` before the first.
    pub(super) credential: Option<Credential>,
    /// The codes of the protections that the last check of the disks found missing.
    pub(super) missing_protections: Vec<&'static str>,
}

/// The effect of a published port through which commands of the model can reach the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Every request needs an access token, so the service works; the operator is warned.
    WithTokens,
    /// Nobody needs a token, so the service serves its health pages only.
    WithoutTokens,
}

impl Cache {
    /// Creates the results before the first check: the only obstacle is `cli-unchecked`.
    pub(super) fn unchecked() -> Self {
        Self {
            cli: Err(Obstacle::new(
                "cli-unchecked",
                "the CLI is still being checked",
                "wait a few seconds",
            )),
            folders: Vec::new(),
            unmet: Vec::new(),
            disk: None,
            refused: None,
            worked_at: None,
            refused_at: None,
            stopping: false,
            reached: None,
            shared: false,
            tokens_mistake: None,
            credential: None,
            missing_protections: Vec::new(),
        }
    }
}
