//! The gaps in the output of one view: bytes that claude-api has deleted, and bytes that a slow
//! client with `onSlow: skip` does not get.

use bytes::BytesMut;

use super::{Buffer, Skip, UNSENT_BYTES, is_continuation, whole_characters};

impl Buffer {
    /// Records that claude-api has deleted all output before the offset `to`. The client gets a gap
    /// message for the bytes that were not read yet. Does nothing if they were all read.
    pub fn freed(&mut self, to: u64) {
        if to <= self.read_from() {
            return;
        }
        self.crc = None;
        if let Some(offset) = self.align.take() {
            // The buffered bytes were read only to find the first character.
            self.data = BytesMut::new();
            self.lines = 0;
            self.next = offset.min(to);
            self.align = (to < offset).then_some(offset);
            self.jump = (to > offset).then_some(to);
            return;
        }
        // An unfinished character at the end will never be complete.
        let whole = whole_characters(&self.data);
        self.data.truncate(whole);
        self.jump = Some(to);
    }

    /// Drops the oldest unsent output beyond 32 KiB, because the session has used up its memory.
    /// Does nothing for a view with `onSlow: wait`, which loses no output.
    pub fn shrink(&mut self) {
        if let Some(skip) = self.skip {
            let bytes = skip.bytes.min(UNSENT_BYTES as u64);
            self.drop_oldest(Skip { bytes, ..skip });
        }
    }

    /// Returns how many bytes were dropped so far because the client read too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops the oldest unsent output beyond the limits in `skip`, as whole characters. The client
    /// gets a gap message for it.
    pub(super) fn drop_oldest(&mut self, skip: Skip) {
        let limit = usize::try_from(skip.bytes).unwrap_or(usize::MAX);
        let mut cut = self.data.len().saturating_sub(limit);
        if skip.lines > 0 && self.lines > skip.lines {
            let surplus = (self.lines - skip.lines) as usize;
            let end = length_of_lines(&self.data, surplus);
            cut = cut.max(end);
        }
        if cut == 0 || self.align.is_some() {
            return;
        }
        while cut < self.data.len() && is_continuation(self.data[cut]) {
            cut += 1;
        }
        self.skipped.get_or_insert(self.next);
        self.dropped += cut as u64;
        self.advance(cut);
    }
}

/// Returns the length in bytes of the first `n` lines, line feeds included. Returns 0 if there are
/// fewer.
fn length_of_lines(bytes: &[u8], n: usize) -> usize {
    let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    ends.map(|(i, _)| i + 1)
        .nth(n.saturating_sub(1))
        .unwrap_or(0)
}
