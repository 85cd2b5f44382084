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

/// The codes of all obstacles, in the order of the documentation. `/metrics` has a series for each.
pub(crate) const OBSTACLES: [&str; 19] = [
    "cli-unchecked",
    MISSING,
    "cli-version",
    NO_RUNNER,
    RUNNER_DIED,
    "cli-config-broken",
    "folder-unwritable",
    "workspace-closed",
    "spool-unwritable",
    "no-room",
    "disk-hangs",
    "hook-missing",
    "credential-missing",
    "credential-unreadable",
    "credential-malformed",
    "credential-refused",
    "credentials-away",
    "box-reaches-service",
    "stopping",
];
/// The codes of all warnings, which do not keep executions from starting.
pub(crate) const WARNINGS: [&str; 12] = [
    "tokens-file-invalid",
    "tokens-file-missing",
    "credential-in-box",
    "box-reaches-service",
    "clients-share-the-box",
    "sandbox-off",
    "sandbox-incomplete",
    "sandbox-login",
    "sandbox-not-pid-1",
    "sandbox-program-readable",
    "sandbox-dns",
    "sandbox-path-missing",
];

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
    /// Creates an obstacle from its stable code, which [`OBSTACLES`] or [`WARNINGS`] has, its
    /// description and its remedy.
    pub(crate) fn new(
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        debug_assert!(
            OBSTACLES.contains(&code) || WARNINGS.contains(&code),
            "{code} is on no list of codes, so /metrics has no series for it"
        );
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

/// Returns the warning `tokens-file-missing`: nobody has a token, so the service refuses everybody.
pub(crate) fn no_tokens() -> Obstacle {
    Obstacle::new(
        "tokens-file-missing",
        "the token file is missing, empty or no regular file, so every token is refused",
        "write the file (`ccb token new`) where --tokens-file says; it is read every second",
    )
}

/// Returns the obstacle `box-reaches-service`: commands of the model reach the service through its
/// published port, and nobody needs an access token.
pub(crate) fn box_reaches_service() -> Obstacle {
    Obstacle::new(
        "box-reaches-service",
        "commands of the model reach this service through its published port, so only the health \
         pages are served",
        "give the clients access tokens (CLAUDE_API_TOKENS_FILE); or set CCB_PUBLISH=127.0.0.1 \
         (the default), or keep the container from that port with a firewall, and start it again; \
         where the engine forwards the container to the machine's loopback (Docker Desktop), only \
         tokens or CLAUDE_API_BOXED=false serve your clients, and the latter serves commands of \
         the model, too",
    )
}

/// Returns the warning `box-reaches-service`: commands of the model reach the service through its
/// published port, and every request needs an access token.
pub(crate) fn box_has_only_tokens() -> Obstacle {
    Obstacle::new(
        "box-reaches-service",
        "commands of the model reach this service through its published port; only the access \
         tokens keep them from using it",
        "set CCB_PUBLISH=127.0.0.1 (the default), or keep the container from that port with a \
         firewall, and start it again",
    )
}

/// Returns the warning `clients-share-the-box`: clients outside the service's container arrive from
/// an address of that container, so they are refused like commands of the model.
pub(crate) fn clients_share_the_box() -> Obstacle {
    Obstacle::new(
        "clients-share-the-box",
        "clients outside this container arrive from one of its own addresses (host networking, one \
         pod, rootless port forwarding), so they are refused like commands of the model",
        "set CLAUDE_API_BOXED=false, and give the clients access tokens (CLAUDE_API_TOKENS_FILE): \
         without tokens, commands of the model can then use the service",
    )
}
