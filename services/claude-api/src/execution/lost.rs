//! The count of bytes that an execution produced and a full disk could not store.

/// The number of bytes of one execution that could not be written so far, because the disk was
/// full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    /// The lost bytes of the output, the answer that clients read.
    pub(crate) output: u64,
    /// The lost bytes of the CLI's raw stdout, which only `/events` shows.
    pub(crate) events: u64,
}
