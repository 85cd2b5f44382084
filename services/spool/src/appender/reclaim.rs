//! Frees the oldest bytes of an output or events file in an order that survives a crash. First a
//! checkpoint that gives the bytes up is written, then the readers are notified, then the disk
//! blocks are freed.

use std::io;

use super::Appender;
use crate::{
    files::{BLOCK, SparseFile, read_up_to},
    marks::Unfreed,
    track::{Encoding, is_continuation},
};

/// The least room that one step makes on a full disk beyond the bytes to write (64 KiB). Without
/// this reserve, every small append would punch a hole.
const ROOM_BYTES: u64 = 64 << 10;

impl Appender {
    /// Makes room on a full disk by freeing the oldest bytes of this file, so that about `room`
    /// bytes can be written. Returns false if the file has no bytes left on disk or the checkpoint
    /// could not be written.
    pub(crate) fn free_for(&mut self, room: u64) -> bool {
        let kept = self.marks.len - self.marks.kept_from;
        if kept == 0 {
            return false;
        }
        let step = (kept / 8).max(room + ROOM_BYTES);
        self.free_to(self.marks.kept_from.saturating_add(step), true)
            .is_ok()
    }

    /// Frees all bytes before the offset `target`, rounded up to a whole UTF-8 character in text.
    /// With `full` (the disk is full), all bytes are dropped if the file system cannot free the
    /// beginning of a file.
    ///
    /// # Errors
    /// The checkpoint that gives the bytes up could not be written, and no disk space was freed.
    pub(super) fn free_to(&mut self, target: u64, full: bool) -> io::Result<()> {
        self.marks.kept_from = self.character_at(target.min(self.marks.len));
        self.forget_lines();
        self.free_before_kept(full)
    }

    /// Frees disk blocks that an earlier process gave up in a checkpoint, but was killed before it
    /// freed them.
    pub(super) fn free_leftover_blocks(&mut self) {
        if self.marks.kept_from - self.marks.kept_from % BLOCK > 0 {
            let _ = self.free_before_kept(false);
        }
    }

    /// Stops counting the lines whose bytes were freed.
    fn forget_lines(&mut self) {
        if let Some(lines) = &mut self.lines {
            lines.forget(self.marks.kept_from, self.marks.len);
        }
    }

    /// Writes the checkpoint that gives up the bytes before `kept_from`, notifies the readers, and
    /// frees the whole disk blocks of these bytes. If the file system cannot free them, drops all
    /// bytes of the file, but only at the size limit or with `full`.
    fn free_before_kept(&mut self, full: bool) -> io::Result<()> {
        let end = self.marks.kept_from - self.marks.kept_from % BLOCK;
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
                tracing::warn!(
                    %error,
                    "could not write the checkpoint that must precede freeing the oldest bytes; \
                     their disk space is not freed"
                );
                return Err(error);
            }
            Err(Unfreed::Bytes(error)) => {
                tracing::warn!(
                    %error,
                    "could not free only the oldest bytes of a file; it will lose all of its kept \
                     bytes at its size limit or on a full disk"
                );
                self.can_punch = false;
            }
        }
        // The kept bytes must stay one suffix. A file system that cannot free the beginning of a
        // file must free everything. Bytes dropped only for the line limit stay on disk until then.
        let unfreed = end > self.punched;
        if unfreed && (full || self.marks.len - self.punched > self.cap) {
            self.drop_all();
        }
        Ok(())
    }

    /// Gives up every byte written so far, and frees the disk space of the whole file; its length
    /// stays. Used for bytes that could not be written, and on file systems that cannot free the
    /// beginning of a file. An error is logged.
    pub(super) fn drop_all(&mut self) {
        self.marks.kept_from = self.marks.len;
        self.forget_lines();
        let len = self.marks.len;
        match self.mark_then(|file| file.set_len(0).and_then(|()| file.set_len(len))) {
            Ok(()) => {}
            Err(Unfreed::Bytes(error)) => {
                tracing::warn!(
                    %error,
                    "could not free the disk space of dropped output or events; readers no longer \
                     get these bytes"
                );
            }
            Err(Unfreed::Mark(error)) => {
                if !self.unmarked_loss {
                    tracing::warn!(
                        %error,
                        "could not record a loss of output or events; dropping new bytes until it \
                         is recorded"
                    );
                }
                self.unmarked_loss = true;
                return;
            }
        }
        self.unmarked_loss = false;
        self.punched = len - len % BLOCK;
    }

    /// Writes a checkpoint of the present length and oldest stored offset, publishes them to
    /// readers, and then calls `free`, which frees blocks of the file. If the checkpoint cannot be
    /// written, the readers are notified all the same, but `free` is not called.
    fn mark_then(
        &mut self,
        free: impl FnOnce(&dyn SparseFile) -> io::Result<()>,
    ) -> Result<(), Unfreed> {
        let (mark, marks) = (self.current_mark(), self.marks);
        let track = &self.track;
        let freed = self.slots.mark_then_free(mark, || {
            track.marks.send_replace(marks);
            free(&*track.file)
        });
        match &freed {
            Err(Unfreed::Mark(_)) => self.publish(),
            Ok(()) | Err(Unfreed::Bytes(_)) => self.marked = marks.len,
        }
        freed
    }

    /// Returns the first offset at or after `target` at which a UTF-8 character begins. For raw
    /// bytes this is `target`. If the file cannot be read, this is its end.
    fn character_at(&self, target: u64) -> u64 {
        if self.encoding == Encoding::Bytes || target >= self.marks.len {
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
            // Bytes that cannot be read are not kept.
            Err(_) => self.marks.len,
        }
    }
}
