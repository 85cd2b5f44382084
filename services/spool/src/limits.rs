//! The configured limits of a spool.

use std::time::Duration;

/// How much the spool keeps of each execution and in total, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// The most output kept per execution, in bytes. Beyond it, the oldest output is freed.
    pub kept_bytes: u64,
    /// The most output kept per execution, in lines; 0 means no limit. Up to 1/32 more lines may be
    /// kept, and the text after the last newline.
    pub kept_lines: u64,
    /// The most that is kept of an execution's raw events (the CLI's stdout), in bytes.
    pub events_bytes: u64,
    /// The time after its end at which an execution is deleted.
    pub retention: Duration,
    /// The most disk space for all executions together, in bytes. Beyond it, the oldest ended
    /// executions are deleted; live ones stay.
    pub retention_bytes: u64,
}
