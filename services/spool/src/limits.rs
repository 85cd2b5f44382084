//! The limits of a spool.

use std::time::Duration;

/// What is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Output kept per execution, in bytes.
    pub kept_bytes: u64,
    /// Output kept per execution, in lines; 0 is no limit. Up to a 32nd more may stay, and the text
    /// behind the last newline.
    pub kept_lines: u64,
    /// Raw events kept per execution, in bytes.
    pub events_bytes: u64,
    /// How long an execution is kept after its end.
    pub retention: Duration,
    /// What all executions may take on disk, in bytes.
    pub retention_bytes: u64,
}
