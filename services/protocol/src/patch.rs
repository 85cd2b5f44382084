//! The difference between the output of format `events` and the CLI's stdout.

/// One difference: `len` bytes of the output at `offset` stand for `original`.
///
/// An invalid sequence has U+FFFD in the output (`len` 3, or a multiple where several are joined)
/// and its bytes here. A line feed that was added at the end has `len` 1 and an empty `original`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where the output differs, in bytes of the output.
    pub offset: u64,
    /// How many bytes of the output stand in for the original.
    pub len: u32,
    /// What the CLI wrote there.
    pub original: Vec<u8>,
}

impl Patch {
    /// The offset in the output behind the patch.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// By how many bytes stdout is longer than the output here; negative where it is shorter.
    #[must_use]
    pub fn growth(&self) -> i64 {
        self.original.len() as i64 - i64::from(self.len)
    }
}
