//! How the oldest bytes go: a mark first, then the readers, then the blocks.

use super::Appender;
use crate::{
    files::{BLOCK, read_up_to},
    track::{Shape, is_continuation},
};

/// On a full disk at least this much is freed at once, so that a small append does not punch a hole every time.
const ROOM_BYTES: u64 = 64 << 10;

impl Appender {
    /// Frees the oldest bytes so that about `room` more can be written; false when nothing is left to free.
    pub(crate) fn free_for(&mut self, room: u64) -> bool {
        let kept = self.now.len - self.now.kept_from;
        if kept == 0 {
            return false;
        }
        let step = (kept / 8).max(room + ROOM_BYTES);
        self.free_to(self.now.kept_from.saturating_add(step), true);
        true
    }

    /// Keeps nothing from `target` down, to the next character. Mark, then readers, then the blocks: in this order nobody
    /// takes a hole for output, not even after a crash. `full`: the disk needs the room.
    pub(super) fn free_to(&mut self, target: u64, full: bool) {
        self.now.kept_from = self.character_at(target.min(self.now.len));
        self.forget_lines();
        if self.mark() {
            self.publish();
            self.give_back(full);
        } else {
            self.publish();
        }
    }

    fn forget_lines(&mut self) {
        if let Some(lines) = &mut self.lines {
            lines.forget(self.now.kept_from, self.now.len);
        }
    }

    /// Nothing before the present end is kept; the file's length says where the end is.
    pub(super) fn drop_all(&mut self) {
        self.now.kept_from = self.now.len;
        self.forget_lines();
        self.mark();
        self.publish();
        let store = &self.track.store;
        if let Err(error) = store.set_len(0).and_then(|()| store.set_len(self.now.len)) {
            tracing::warn!(%error, "the spool could not empty an output");
        }
        self.punched = self.now.len - self.now.len % BLOCK;
    }

    pub(super) fn give_back(&mut self, full: bool) {
        let end = self.now.kept_from - self.now.kept_from % BLOCK;
        if end <= self.punched {
            return;
        }
        if self.can_punch {
            match self.track.store.punch(self.punched, end) {
                Ok(()) => {
                    self.punched = end;
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the oldest bytes cannot be freed alone; all go together when there are too many");
                    self.can_punch = false;
                }
            }
        }
        // One suffix must stay one suffix, and this file system cannot free a beginning: free everything. What went for lines
        // alone takes its room until then.
        if full || self.now.len - self.punched > self.cap {
            self.drop_all();
        }
    }

    /// The first offset from `target` on that begins a character.
    fn character_at(&self, target: u64) -> u64 {
        if self.shape == Shape::Bytes || target >= self.now.len {
            return target;
        }
        match read_up_to(&*self.track.store, target, 4) {
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
