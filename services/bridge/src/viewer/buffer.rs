//! The output of one view that was read from claude-api but not sent to the client. The buffer is
//! bounded, and is cut into messages at character boundaries. For missing bytes the client gets a
//! gap message.
//!
//! ```text
//!   skipped          next                  read_from
//!      |  (dropped)   |  data (unsent)        |
//! -----+--------------+-----------------------+-------> offset
//! ```
//!
//! The bytes from `skipped` to `next` become the next gap. If `jump` is set, claude-api has deleted
//! the bytes after `data`. Once `data` is sent, they become a gap and `next` moves to `jump`.

mod gaps;

use bytes::{Buf, Bytes, BytesMut};
use crc32fast::Hasher;
use protocol::OUTPUT_MESSAGE_BYTES;

/// The number of unsent bytes at which a view with `onSlow: wait` stops reading from claude-api (32
/// KiB).
const UNSENT_BYTES: usize = 32 * 1024;
/// The most bytes of output in one message. It is half of the limit in docs/protocol.md,
/// "Notifications", because two messages are buffered for a client that reads nothing.
const PIECE_BYTES: usize = OUTPUT_MESSAGE_BYTES / 2;

/// The most unsent output of a view with `onSlow: skip`. Beyond these limits the oldest output is
/// dropped.
#[derive(Debug, Clone, Copy)]
pub struct Skip {
    /// The most unsent bytes of the view.
    pub bytes: u64,
    /// The most unsent lines of the view. 0 means that lines are not limited.
    pub lines: u64,
}

/// The next part of an execution's output for the client: text, or a gap.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Output as text, with the offset of its first byte.
    Text(u64, String),
    /// Bytes that the client will not receive: from the first offset up to, but not including, the
    /// second one.
    Gap(u64, u64),
}

/// The output of one view that was read from claude-api, but not sent to the client. The module has
/// a diagram of its fields.
#[derive(Debug)]
pub struct Buffer {
    /// The offset of the next byte to send, which is the first byte of `data`.
    next: u64,
    /// The unsent bytes.
    data: BytesMut,
    /// The offset of the first dropped byte that no gap message has announced yet; `None` if there
    /// is none.
    skipped: Option<u64>,
    /// The offset at which reading continues after `data`, because claude-api has deleted the bytes
    /// before it; `None` if no byte is missing there.
    jump: Option<u64>,
    /// The limits of a view with `onSlow: skip`; `None` for `onSlow: wait`.
    skip: Option<Skip>,
    /// The number of unsent line feeds. It stays 0 if lines are not limited.
    lines: u64,
    /// The offset that the client requested, until the first byte of the character at that offset
    /// is found; `None` after that.
    align: Option<u64>,
    /// The CRC-32 of all bytes from offset 0; `None` once a byte is missing.
    crc: Option<Hasher>,
    /// The number of bytes dropped so far because the client read too slowly, for `/metrics`.
    dropped: u64,
}

impl Buffer {
    /// Creates an empty buffer for the output from `offset` on. If `offset` lies inside a UTF-8
    /// character, the output begins at the character's first byte. To find it, up to 3 earlier
    /// bytes are read ([`Self::read_from`]). `kept_from` is the offset of the oldest byte that
    /// claude-api has. `skip` has the limits of a view with `onSlow: skip`.
    #[must_use]
    pub fn new(offset: u64, kept_from: u64, skip: Option<Skip>) -> Self {
        // A character has at most 4 bytes (RFC 3629), and the kept output begins at a character.
        let from = offset.saturating_sub(3).max(kept_from).min(offset);
        Self {
            next: from,
            data: BytesMut::new(),
            skipped: None,
            jump: None,
            skip,
            lines: 0,
            align: (from < offset).then_some(offset),
            crc: (offset == 0).then(Hasher::new),
            dropped: 0,
        }
    }

    /// Returns the offset from which the next bytes must be read from claude-api.
    #[must_use]
    pub fn read_from(&self) -> u64 {
        self.jump.unwrap_or(self.next + self.data.len() as u64)
    }

    /// Returns true if more output should be read from claude-api. With `onSlow: wait` it is false
    /// while too many bytes are unsent. With both modes it is false while a gap of deleted bytes is
    /// not sent.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        self.jump.is_none() && (self.skip.is_some() || self.data.len() < UNSENT_BYTES)
    }

    /// Returns the number of unsent bytes in the buffer.
    #[must_use]
    pub fn held(&self) -> usize {
        self.data.len()
    }

    /// Returns the CRC-32 of all output read so far. Returns `None` if the output does not begin at
    /// offset 0 or a byte of it is missing.
    #[must_use]
    pub fn crc32(&self) -> Option<u32> {
        self.crc.clone().map(Hasher::finalize)
    }

    /// Appends bytes of output that were read at the offset [`Self::read_from`]. With `onSlow:
    /// skip`, drops the oldest bytes beyond the limits.
    pub fn push(&mut self, bytes: &Bytes) {
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
        self.data.extend_from_slice(bytes);
        if self.skip.is_some_and(|skip| skip.lines > 0) {
            self.lines += line_ends(bytes);
        }
        self.find_start();
        if let Some(skip) = self.skip {
            self.drop_oldest(skip);
        }
    }

    /// Records that no more output will be read. Drops an unfinished UTF-8 character at the end.
    /// The CRC-32 is then unknown.
    pub fn close(&mut self) {
        if let Some(offset) = self.align {
            self.freed(offset);
        }
        let whole = whole_characters(&self.data);
        if self.jump.is_none() && whole < self.data.len() {
            self.data.truncate(whole);
            self.crc = None;
        }
    }

    /// Removes and returns the next piece of output to send. Returns `None` if there is none yet,
    /// for example because a character is incomplete. `is_complete` is true if no more bytes will
    /// be pushed. An incomplete character at the end is then sent as U+FFFD.
    pub fn take(&mut self, is_complete: bool) -> Option<Piece> {
        if let Some(from) = self.skipped.take() {
            return Some(Piece::Gap(from, self.next));
        }
        if is_complete && let Some(offset) = self.align.take() {
            let hidden = (offset.saturating_sub(self.next) as usize).min(self.data.len());
            self.advance(hidden);
        }
        if self.align.is_none() && !self.data.is_empty() {
            let end = piece_length(&self.data, PIECE_BYTES);
            let end = if end == 0 && is_complete {
                self.data.len()
            } else {
                end
            };
            if end > 0 {
                // claude-api promises UTF-8. If it breaks that promise, the text has U+FFFD and the
                // offsets stay correct.
                let text = String::from_utf8_lossy(&self.data[..end]).into_owned();
                let offset = self.next;
                self.advance(end);
                return Some(Piece::Text(offset, text));
            }
        }
        if self.data.is_empty()
            && let Some(to) = self.jump.take()
        {
            let from = std::mem::replace(&mut self.next, to);
            return Some(Piece::Gap(from, to));
        }
        None
    }

    /// Returns true if [`Self::take`] would return a piece now. `is_complete` is true if no more
    /// bytes will be pushed.
    #[must_use]
    pub fn has_piece(&self, is_complete: bool) -> bool {
        self.skipped.is_some()
            || (self.data.is_empty() && self.jump.is_some())
            || (!self.data.is_empty()
                && (is_complete
                    || (self.align.is_none() && piece_length(&self.data, PIECE_BYTES) > 0)))
    }

    /// Removes the first `count` unsent bytes.
    fn advance(&mut self, count: usize) {
        if self.skip.is_some_and(|s| s.lines > 0) {
            self.lines -= line_ends(&self.data[..count]);
        }
        self.data.advance(count);
        self.next += count as u64;
        if self.data.is_empty() {
            // An idle view holds no buffer.
            self.data = BytesMut::new();
        }
    }

    /// Drops the bytes before the character that contains the offset `align`. Does nothing until
    /// the byte at that offset is in the buffer.
    fn find_start(&mut self) {
        let Some(offset) = self.align else { return };
        let Ok(mut index) = usize::try_from(offset - self.next) else {
            return;
        };
        if index >= self.data.len() {
            return;
        }
        while index > 0 && is_continuation(self.data[index]) {
            index -= 1;
        }
        self.align = None;
        self.advance(index);
    }
}

/// Returns true if the byte is the second or a later byte of a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// Returns the number of line feeds in `bytes`.
fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// Returns the length of `bytes` without an incomplete UTF-8 character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(4);
    for start in (tail..bytes.len()).rev() {
        let byte = bytes[start];
        if is_continuation(byte) {
            continue;
        }
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if start + length > bytes.len() {
            start
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

/// Returns how many of the first `limit` bytes can be sent without cutting a UTF-8 character.
fn piece_length(bytes: &[u8], limit: usize) -> usize {
    whole_characters(&bytes[..bytes.len().min(limit)])
}

#[cfg(test)]
mod tests;
