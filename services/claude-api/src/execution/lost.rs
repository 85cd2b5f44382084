//! The count of output bytes that are missing on disk.

/// The number of bytes that could not be written so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    /// Bytes of the output.
    pub(crate) output: u64,
    /// Bytes that only `/events` shows.
    pub(crate) events: u64,
}
