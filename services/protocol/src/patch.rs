//! The difference between the output of format `events` and the CLI's stdout.

/// One difference: `len` bytes of the output at `offset` replace `original`.
///
/// An invalid UTF-8 sequence is U+FFFD in the output; `original` has its bytes, and `len` is 3, or
/// a multiple of 3 for several joined sequences. For a line feed that was added at the end, `len`
/// is 1 and `original` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The start of the difference, in bytes of the output.
    pub offset: u64,
    /// The number of output bytes that replace the original.
    pub len: u32,
    /// The bytes that the CLI wrote.
    pub original: Vec<u8>,
}

impl Patch {
    /// Returns the offset in the output after the patch.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// Returns how many bytes longer the original is than its replacement; negative if it is
    /// shorter.
    #[must_use]
    pub fn growth(&self) -> i64 {
        self.original.len() as i64 - i64::from(self.len)
    }
}
