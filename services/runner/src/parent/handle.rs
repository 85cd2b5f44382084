//! The connection of claude-api to one runner and its CLI.

use super::commands::Control;
use super::events::Events;
use super::pipes::{Stderr, Stdin, Stdout};

/// Everything by which claude-api uses a started runner and its CLI: the CLI's pipes, and the
/// runner's commands and events. The parts can be moved out and used separately.
#[derive(Debug)]
pub struct Handle {
    /// Writes to the CLI's stdin; dropping it gives the CLI its end of file.
    pub stdin: Stdin,
    /// Reads the CLI's stdout.
    pub stdout: Stdout,
    /// Reads the CLI's stderr.
    pub stderr: Stderr,
    /// Sends commands to the runner, such as pause or kill.
    pub control: Control,
    /// Receives the runner's reports; dropping this ends the execution.
    pub events: Events,
}
