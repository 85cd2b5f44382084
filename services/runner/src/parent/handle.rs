//! The connection of claude-api to one runner process and its CLI.

use super::commands::CommandSender;
use super::events::Events;
use super::pipes::{Stderr, Stdin, Stdout};

/// The connection to a started runner process and its CLI: the CLI's standard streams, and the
/// runner's commands and reports. The parts can be moved out and used separately.
#[derive(Debug)]
pub struct Handle {
    /// Writes to the CLI's stdin. Dropping it closes the stream, so the CLI reads the end of file.
    pub stdin: Stdin,
    /// Reads what the CLI writes to its stdout.
    pub stdout: Stdout,
    /// Reads what the CLI writes to its stderr.
    pub stderr: Stderr,
    /// Sends commands to the runner, such as pause (SIGSTOP) or kill (SIGKILL).
    pub control: CommandSender,
    /// Receives the runner's reports, such as the end of the CLI. Dropping this kills the
    /// execution.
    pub events: Events,
}
