//! The check that a client received the output of an execution completely and unchanged.
//!
//! Each piece must continue where the last one ended. Bytes that were received before are dropped,
//! and missing bytes are an error. At the end, the length and the CRC-32 must be equal to those of
//! the terminal status (docs/protocol.md, "Invariants", 2 and 3).

use std::ops::Range;

use bytes::{Buf, Bytes};

/// The maximum number of bytes from an offset inside a UTF-8 character back to the character's
/// first byte. It is 3 because a character has at most 4 bytes.
const MAX_BYTES_TO_CHARACTER_START: u64 = 3;

/// A checker for the pieces of one execution's output as they arrive. It counts bytes and computes
/// the CRC-32, but does not store the bytes and does no I/O.
#[derive(Debug, Clone)]
pub struct OutputTracker {
    start: u64,
    next: u64,
    /// Whether a piece or a gap was received. Only the first piece may begin up to 3 bytes before
    /// the requested offset, if that offset is inside a character.
    seen: bool,
    /// The number of output bytes that the bridge did not send and announced as gaps.
    missing: u64,
    crc: crc32fast::Hasher,
}

/// The result of the final check of a received output against the execution's terminal status, if
/// no contradiction was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputCheck {
    /// The whole output was received, every byte from offset 0, and its length and CRC-32 are equal
    /// to those of the terminal status.
    Verified,
    /// The end of the output was reached, but some bytes were not received, because the client
    /// began at a later offset or because of gaps. The CRC-32 could not be compared.
    Partial {
        /// The number of bytes that were not received.
        missing: u64,
    },
    /// The length is right, but the output cannot be verified, because the terminal status has no
    /// CRC-32. For example, claude-api has lost the execution.
    Unknown,
}

/// A contradiction in a received output, which means that bytes were lost or changed on their way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Bytes are missing, although the bridge did not announce a gap for them.
    #[error("bytes {expected} to {got} are missing, and no gap was announced")]
    Hole {
        /// The offset after the bytes received so far, where the next piece must begin.
        expected: u64,
        /// The offset at which the next piece or gap begins instead.
        got: u64,
    },
    /// The received output has another length than the terminal status, so bytes are missing or too
    /// many were sent.
    #[error("{got} bytes were received, but the length is {expected}")]
    Length {
        /// The length of the received output, in bytes, including announced gaps.
        got: u64,
        /// The length of the output in the terminal status (`outputBytes`), in bytes.
        expected: u64,
    },
    /// The received output has another CRC-32 than the terminal status, so bytes were changed.
    #[error("its crc32 is {got}, but the terminal status says {expected}")]
    Crc {
        /// The CRC-32 of the received bytes, as 8 hex digits.
        got: String,
        /// The CRC-32 in the terminal status, as 8 hex digits.
        expected: String,
    },
}

impl OutputTracker {
    /// Creates a checker for an output whose first received byte is at the offset `start`.
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

    /// Returns the offset after the last received byte or gap. A client that reconnects requests
    /// the output from there.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.next
    }

    /// Accepts a piece of the output that begins at `offset`. Returns the bytes of it that were not
    /// received before; they may be empty.
    ///
    /// # Errors
    /// [`OutputError::Hole`] if the piece begins after the last received byte, so that bytes in
    /// between are missing.
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

    /// Accepts a gap, which is the announcement that the bytes `from..to` of the output are not
    /// sent. Returns the part of the gap that was not received before, or `None` if the whole range
    /// was.
    ///
    /// # Errors
    /// [`OutputError::Hole`] if the gap begins after the last received byte, so that bytes in
    /// between are missing.
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

    /// Checks the received output against `outputBytes` and `crc32` of the terminal status. Without
    /// a CRC-32 in the status, only the length is compared.
    ///
    /// # Errors
    /// [`OutputError::Length`] if the lengths differ. [`OutputError::Crc`] if the CRC-32 differs
    /// although every byte was received.
    pub fn finish(
        &self,
        output_bytes: u64,
        crc32: Option<&str>,
    ) -> Result<OutputCheck, OutputError> {
        if self.next != output_bytes {
            return Err(OutputError::Length {
                got: self.next,
                expected: output_bytes,
            });
        }
        let missing = self.start + self.missing;
        if missing > 0 {
            return Ok(OutputCheck::Partial { missing });
        }
        let got = protocol::trailers::crc32_text(self.crc.clone().finalize());
        match crc32 {
            None => Ok(OutputCheck::Unknown),
            Some(expected) if expected == got => Ok(OutputCheck::Verified),
            Some(expected) => Err(OutputError::Crc {
                got,
                expected: expected.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
