//! The count of output bytes that are missing on disk.

/// The bytes of one execution that could not be written so far, because the disk was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    /// Bytes of the output.
    pub(crate) output: u64,
    /// Bytes of the CLI's stdout that only `/events` would show.
    pub(crate) events: u64,
}
