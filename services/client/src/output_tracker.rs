//! Tracking of the output of one execution: offsets continue exactly, an overlap is cut, a hole is
//! an error, and at the end length and crc32 must be those of the terminal status
//! (docs/protocol.md, "Invariants", 2 and 3).

use std::ops::Range;

use bytes::{Buf, Bytes};

/// The longest character of UTF-8 has 4 bytes; an offset inside one begins at most this much
/// earlier.
const BEFORE_OFFSET: u64 = 3;

/// The part of one output that was received so far: offsets, length and crc32, not the bytes. Pure.
#[derive(Debug, Clone)]
pub struct OutputTracker {
    start: u64,
    next: u64,
    /// Whether a piece or a gap was received. Only the first piece may begin before `start`.
    seen: bool,
    /// Bytes that gaps announced as gone.
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
        /// The number of these bytes.
        missing: u64,
    },
    /// The terminal status does not know the output (the service lost the execution).
    Unknown,
}

/// The pieces of an output do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Bytes are missing and no gap announced them.
    #[error("after byte {expected} came byte {got}, and no gap was announced")]
    Hole {
        /// The offset reached, at which the next piece must begin.
        expected: u64,
        /// The offset at which it begins.
        got: u64,
    },
    /// The terminal status has another length.
    #[error("it ended at byte {got}, but its length is {expected}")]
    Length {
        /// The offset reached.
        got: u64,
        /// `outputBytes` of the terminal status.
        expected: u64,
    },
    /// The terminal status has another crc32.
    #[error("its crc32 is {got}, but the service says {expected}")]
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

    /// Returns the offset reached, at which an `attach` continues.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.next
    }

    /// Takes a piece of output, and returns its new bytes: none if all were received before.
    ///
    /// # Errors
    /// [`OutputError::Hole`] when it begins beyond the offset reached.
    pub fn accept(&mut self, offset: u64, mut bytes: Bytes) -> Result<Bytes, OutputError> {
        if !self.seen && offset < self.next && self.next - offset <= BEFORE_OFFSET {
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

    /// Takes an announced gap, and returns its part beyond the offset reached.
    ///
    /// # Errors
    /// [`OutputError::Hole`] when it begins beyond the offset reached.
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
        let gone = self.next..to;
        self.seen = true;
        self.missing += to - self.next;
        self.next = to;
        Ok(Some(gone))
    }

    /// Compares the received output with the terminal status.
    ///
    /// # Errors
    /// The length differs, or, when everything from 0 was received, the crc32.
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
