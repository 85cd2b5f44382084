//! How the oldest bytes go: a mark first, then the readers, then the blocks.

use std::io;

use super::Appender;
use crate::{
    files::{BLOCK, SparseFile, read_up_to},
    marks::Unfreed,
    track::{Encoding, is_continuation},
};

/// On a full disk at least this much is freed at once, so that a small append does not punch a hole
/// every time.
const ROOM_BYTES: u64 = 64 << 10;

impl Appender {
    /// Frees the oldest bytes so that about `room` more can be written; false when nothing is left
    /// to free.
    pub(crate) fn free_for(&mut self, room: u64) -> bool {
        let kept = self.now.len - self.now.kept_from;
        if kept == 0 {
            return false;
        }
        let step = (kept / 8).max(room + ROOM_BYTES);
        self.free_to(self.now.kept_from.saturating_add(step), true)
            .is_ok()
    }

    /// Frees everything before `target`, rounded up to a whole character. `full`: the disk needs
    /// the room.
    ///
    /// # Errors
    /// The mark could not be written, and nothing was freed.
    pub(super) fn free_to(&mut self, target: u64, full: bool) -> io::Result<()> {
        self.now.kept_from = self.character_at(target.min(self.now.len));
        self.forget_lines();
        self.free_before_kept(full)
    }

    /// Frees the bytes that a kill between a mark and its hole left.
    pub(super) fn free_again(&mut self) {
        if self.now.kept_from - self.now.kept_from % BLOCK > 0 {
            let _ = self.free_before_kept(false);
        }
    }

    fn forget_lines(&mut self) {
        if let Some(lines) = &mut self.lines {
            lines.forget(self.now.kept_from, self.now.len);
        }
    }

    /// Writes the mark, notifies the readers, and frees the whole blocks before `kept_from`.
    fn free_before_kept(&mut self, full: bool) -> io::Result<()> {
        let end = self.now.kept_from - self.now.kept_from % BLOCK;
        let punches = self.can_punch && end > self.punched;
        let from = self.punched;
        match self.mark_then(|file| {
            if punches {
                file.punch(from, end)
            } else {
                Ok(())
            }
        }) {
            Ok(()) if punches => self.punched = end,
            Ok(()) => {}
            Err(Unfreed::Mark(error)) => {
                tracing::warn!(%error, "a mark could not be written; nothing is freed");
                return Err(error);
            }
            Err(Unfreed::Bytes(error)) => {
                tracing::warn!(%error, "could not free the oldest bytes alone; freeing all of them");
                self.can_punch = false;
            }
        }
        // One suffix must stay one suffix, and this file system cannot free a beginning: free
        // everything. What went for lines alone takes its room until then.
        let unfreed = end > self.punched;
        if unfreed && (full || self.now.len - self.punched > self.cap) {
            self.drop_all();
        }
        Ok(())
    }

    /// Frees everything before the present end; the file's length is the end.
    pub(super) fn drop_all(&mut self) {
        self.now.kept_from = self.now.len;
        self.forget_lines();
        let len = self.now.len;
        match self.mark_then(|file| file.set_len(0).and_then(|()| file.set_len(len))) {
            Ok(()) => {}
            Err(Unfreed::Bytes(error)) => {
                tracing::warn!(%error, "the spool could not empty an output");
            }
            Err(Unfreed::Mark(error)) => {
                if !self.unmarked_loss {
                    tracing::warn!(%error, "could not write a mark; dropping output until one is");
                }
                self.unmarked_loss = true;
                return;
            }
        }
        self.unmarked_loss = false;
        self.punched = len - len % BLOCK;
    }

    /// Writes the present mark, then frees. The readers are notified in any case.
    fn mark_then(
        &mut self,
        free: impl FnOnce(&dyn SparseFile) -> io::Result<()>,
    ) -> Result<(), Unfreed> {
        let (mark, now) = (self.current_mark(), self.now);
        let track = &self.track;
        let freed = self.slots.mark_then_free(mark, || {
            track.marks.send_replace(now);
            free(&*track.file)
        });
        match &freed {
            Err(Unfreed::Mark(_)) => self.publish(),
            Ok(()) | Err(Unfreed::Bytes(_)) => self.marked = now.len,
        }
        freed
    }

    /// The first offset from `target` on that begins a character.
    fn character_at(&self, target: u64) -> u64 {
        if self.encoding == Encoding::Bytes || target >= self.now.len {
            return target;
        }
        match read_up_to(&*self.track.file, target, 4) {
            Ok(bytes) => {
                target
                    + bytes
                        .iter()
                        .take_while(|byte| is_continuation(**byte))
                        .count() as u64
            }
            // What cannot be read is not kept.
            Err(_) => self.now.len,
        }
    }
}
