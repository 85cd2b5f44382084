//! The check that the output of an execution was received completely and unchanged.
//!
//! Each piece must continue where the last one ended: an overlap is cut, a hole is an error. At the
//! end, the length and the crc32 must be those of the terminal status (docs/protocol.md,
//! "Invariants", 2 and 3).

use std::ops::Range;

use bytes::{Buf, Bytes};

/// The maximum distance from an offset inside a character back to the character's first byte, in
/// bytes: a character of UTF-8 has at most 4.
const MAX_BYTES_TO_CHARACTER_START: u64 = 3;

/// Checks the pieces of one output as they arrive. It counts bytes and computes the crc32, but does
/// not keep the bytes and does no I/O.
#[derive(Debug, Clone)]
pub struct OutputTracker {
    start: u64,
    next: u64,
    /// Whether a piece or a gap was received. Only the first one may begin before the start of the
    /// tracker.
    seen: bool,
    /// The number of output bytes that are missing because of gaps.
    missing: u64,
    crc: crc32fast::Hasher,
}

/// The result of comparing a received output with the execution's terminal status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The whole output was received: every byte from 0, with the length and crc32 of the terminal
    /// status.
    Verified,
    /// The length is right, but bytes before the start or in gaps were not received. The crc32
    /// could not be compared.
    Partial {
        /// The number of bytes that were not received.
        missing: u64,
    },
    /// The whole output cannot be checked: the terminal status has no crc32, for example because
    /// claude-api lost the execution.
    Unknown,
}

/// A contradiction in a received output: bytes were lost or changed on their way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Bytes are missing, and no gap was announced for them.
    #[error("bytes {expected} to {got} are missing, and no gap was announced")]
    Hole {
        /// The offset that was reached, where the next piece must begin.
        expected: u64,
        /// The offset where the next piece or gap begins instead.
        got: u64,
    },
    /// The received output has another length than the terminal status.
    #[error("{got} bytes were received, but the length is {expected}")]
    Length {
        /// The offset that was reached at the end.
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
    /// Creates a tracker for an output that is received from this offset on.
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

    /// Returns the offset after the last received byte or gap, where an `attach` resumes.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.next
    }

    /// Accepts a piece of output that begins at `offset`, and returns the bytes of it that are new.
    ///
    /// # Errors
    /// [`OutputError::Hole`]: the piece begins after the offset reached, so bytes in between are
    /// missing.
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

    /// Accepts the announcement that the bytes `from..to` are not sent. Returns the part of this
    /// range after the offset reached; None if there is none.
    ///
    /// # Errors
    /// [`OutputError::Hole`]: the gap begins after the offset reached, so bytes in between are
    /// missing.
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

    /// Compares the received output with `outputBytes` and `crc32` of the terminal status.
    ///
    /// # Errors
    /// The lengths differ, or the crc32 differs although the output was received from 0 without
    /// gaps.
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
