//! The check of the output of one execution. Each piece must continue at the offset reached: an
//! overlap is cut, a hole is an error. At the end, the length and the crc32 must be those of the
//! terminal status (docs/protocol.md, "Invariants", 2 and 3).

use std::ops::Range;

use bytes::{Buf, Bytes};

/// The maximum distance, in bytes, from an offset inside a character to the character's first byte:
/// the longest character of UTF-8 has 4 bytes.
const MAX_BYTES_TO_CHARACTER_START: u64 = 3;

/// The received part of one output: its offsets, length and crc32, not its bytes. It does no I/O.
#[derive(Debug, Clone)]
pub struct OutputTracker {
    start: u64,
    next: u64,
    /// Whether a piece or a gap was received. Only the first piece may begin before `start`.
    seen: bool,
    /// The number of bytes that gaps announced as missing.
    missing: u64,
    crc: crc32fast::Hasher,
}

/// The evidence that the whole output was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte from 0 was received, with the crc32 of the terminal status.
    Verified,
    /// The end was reached, but bytes before the start or in gaps were not received.
    Partial {
        /// The number of bytes that were not received.
        missing: u64,
    },
    /// The terminal status has no crc32, for example because the service lost the execution.
    Unknown,
}

/// An inconsistency of a received output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Bytes are missing and no gap announced them.
    #[error("bytes {expected} to {got} are missing, and no gap was announced")]
    Hole {
        /// The offset reached, where the next piece must begin.
        expected: u64,
        /// The offset where the next piece begins.
        got: u64,
    },
    /// The received output has another length than the terminal status.
    #[error("{got} bytes were received, but the length is {expected}")]
    Length {
        /// The offset reached.
        got: u64,
        /// `outputBytes` of the terminal status.
        expected: u64,
    },
    /// The received output has another crc32 than the terminal status.
    #[error("its crc32 is {got}, but the terminal status says {expected}")]
    Crc {
        /// The crc32 of the received bytes.
        got: String,
        /// `crc32` of the terminal status.
        expected: String,
    },
}

impl OutputTracker {
    /// Creates a tracker that begins at this offset.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self {
            start,
            next: start,
            seen: false,
            missing: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Returns the offset reached, where an `attach` resumes.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.next
    }

    /// Accepts a piece of output, and returns the bytes that were not received before.
    ///
    /// # Errors
    /// [`OutputError::Hole`]: the piece begins after the offset reached.
    pub fn accept(&mut self, offset: u64, mut bytes: Bytes) -> Result<Bytes, OutputError> {
        let early = self.next.saturating_sub(offset);
        if !self.seen && early > 0 && early <= MAX_BYTES_TO_CHARACTER_START {
            self.start = offset;
            self.next = offset;
        }
        if offset > self.next {
            return Err(OutputError::Hole {
                expected: self.next,
                got: offset,
            });
        }
        self.seen = true;
        let known = usize::try_from(self.next - offset).unwrap_or(usize::MAX);
        bytes.advance(known.min(bytes.len()));
        self.crc.update(&bytes);
        self.next += bytes.len() as u64;
        Ok(bytes)
    }

    /// Accepts an announced gap, and returns its part after the offset reached.
    ///
    /// # Errors
    /// [`OutputError::Hole`]: the gap begins after the offset reached.
    pub fn gap(&mut self, from: u64, to: u64) -> Result<Option<Range<u64>>, OutputError> {
        if from > self.next {
            return Err(OutputError::Hole {
                expected: self.next,
                got: from,
            });
        }
        if to <= self.next {
            return Ok(None);
        }
        let missing = self.next..to;
        self.seen = true;
        self.missing += to - self.next;
        self.next = to;
        Ok(Some(missing))
    }

    /// Compares the received output with the terminal status.
    ///
    /// # Errors
    /// The length differs, or the crc32 of an output that was received from 0 without gaps.
    pub fn finish(&self, output_bytes: u64, crc32: Option<&str>) -> Result<Verdict, OutputError> {
        if self.next != output_bytes {
            return Err(OutputError::Length {
                got: self.next,
                expected: output_bytes,
            });
        }
        let missing = self.start + self.missing;
        if missing > 0 {
            return Ok(Verdict::Partial { missing });
        }
        let got = protocol::trailers::crc32_text(self.crc.clone().finalize());
        match crc32 {
            None => Ok(Verdict::Unknown),
            Some(expected) if expected == got => Ok(Verdict::Verified),
            Some(expected) => Err(OutputError::Crc {
                got,
                expected: expected.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
