//! The configured limits of the spool: how much is stored on disk, and for how long.

use std::time::Duration;

/// The limits on what is stored on disk: for one execution, for all together, and how long after
/// its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// The most output stored per execution, in bytes. When an append exceeds it, the oldest output
    /// is freed.
    pub kept_bytes: u64,
    /// The most output stored per execution, in lines; 0 means no limit. When an append exceeds it,
    /// the oldest lines are freed. Lines are freed in groups, so up to 1/32 more may be stored, and
    /// the text after the last newline.
    pub kept_lines: u64,
    /// The most raw events (the exact stdout of the CLI) stored per execution, in bytes. When an
    /// append exceeds it, the oldest events are freed.
    pub events_bytes: u64,
    /// The time after which an ended execution is deleted, counted from its end.
    pub retention: Duration,
    /// The most disk space that all executions together may use, in bytes. If they use more, ended
    /// executions are deleted, oldest end first. Queued and running executions are never deleted.
    pub retention_bytes: u64,
}
