//! The handle of one runner.

use super::commands::Control;
use super::events::Events;
use super::pipes::{Stderr, Stdin, Stdout};

/// The handle of one runner and its CLI. The parts can be moved out and used separately.
#[derive(Debug)]
pub struct Handle {
    /// The write end of the CLI's stdin.
    pub stdin: Stdin,
    /// The read end of the CLI's stdout.
    pub stdout: Stdout,
    /// The read end of the CLI's stderr.
    pub stderr: Stderr,
    /// Commands to the runner.
    pub control: Control,
    /// Events of the runner; dropping them ends the execution.
    pub events: Events,
}
