//! One runner, as claude-api holds it.

use super::commands::Control;
use super::events::Events;
use super::pipes::{Stderr, Stdin, Stdout};

/// One runner and its CLI. Take it apart as you like.
#[derive(Debug)]
pub struct Handle {
    /// The write end of the CLI's stdin.
    pub stdin: Stdin,
    /// The read end of its stdout.
    pub stdout: Stdout,
    /// The read end of its stderr.
    pub stderr: Stderr,
    /// Commands to the runner.
    pub control: Control,
    /// Reports of the runner; dropping them ends the execution.
    pub events: Events,
}
