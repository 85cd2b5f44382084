//! Records of the bytes in which the output of format `events` differs from what the CLI wrote to
//! its stdout. With them, the exact stdout can be restored.

/// A replacement of some bytes of the CLI's stdout in the output of format `events`. The `len`
/// bytes of the output at `offset` stand for the bytes `original` that the CLI wrote. Undoing all
/// patches of an output restores the exact stdout.
///
/// Patches exist because this output must be valid UTF-8 and must end with a line feed. U+FFFD (3
/// bytes) replaces each invalid UTF-8 sequence. One patch may cover several adjacent sequences, so
/// `len` is then a multiple of 3. A line feed that was added at the end has `len` 1 and an empty
/// `original`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The position of the first replacing byte, as an offset in the output (not in stdout), in
    /// bytes.
    pub offset: u64,
    /// The number of bytes in the output that replace `original`. It is never 0.
    pub len: u32,
    /// The bytes that the CLI wrote to stdout and that the output has not. Empty for a line feed
    /// that was added at the end.
    pub original: Vec<u8>,
}

impl Patch {
    /// Returns the offset in the output of the first byte after the replacement, in bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// Returns how many bytes longer the original is than its replacement; negative if it is
    /// shorter. Adding the growth of all patches before an offset of the output converts it to the
    /// offset in the CLI's stdout.
    #[must_use]
    pub fn growth(&self) -> i64 {
        self.original.len() as i64 - i64::from(self.len)
    }
}
