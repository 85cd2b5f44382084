//! Output that is missing on disk.

/// Bytes that the disk did not take so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    /// Of the output.
    pub(crate) output: u64,
    /// Of what only `/events` shows.
    pub(crate) events: u64,
}
