//! The limits of a spool.

use std::time::Duration;

/// Limits on the size and the age of kept data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Maximum output kept per execution, in bytes.
    pub kept_bytes: u64,
    /// Maximum output kept per execution, in lines; 0 means no limit. Up to 1/32 more lines may be
    /// kept, and the text after the last newline.
    pub kept_lines: u64,
    /// Maximum raw events kept per execution, in bytes.
    pub events_bytes: u64,
    /// The time for which an execution is kept after its end.
    pub retention: Duration,
    /// Maximum size of all executions on disk, in bytes.
    pub retention_bytes: u64,
}
