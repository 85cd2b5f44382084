//! The places where the output of format `events` differs from the CLI's stdout.

/// One place where the output of format `events` differs from the CLI's stdout: `len` bytes of the
/// output at `offset` replace the bytes `original`. With all patches, the exact stdout is restored
/// from the output.
///
/// An output must be valid UTF-8 and end its last line. Thus U+FFFD (3 bytes) replaces each invalid
/// sequence; one patch may join several, so `len` is a multiple of 3. For a line feed that was
/// added at the end, `len` is 1 and `original` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The offset of the first replacing byte, in bytes of the output.
    pub offset: u64,
    /// The number of bytes in the output that replace the original bytes.
    pub len: u32,
    /// The bytes that the CLI wrote in this place.
    pub original: Vec<u8>,
}

impl Patch {
    /// Returns the offset in the output of the first byte after the patch.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// Returns by how many bytes the original is longer than its replacement; negative if it is
    /// shorter. The sum over patches converts an offset of the output to one of the CLI's stdout.
    #[must_use]
    pub fn growth(&self) -> i64 {
        self.original.len() as i64 - i64::from(self.len)
    }
}
