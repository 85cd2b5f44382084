//! The writing side of a track: appends, and frees the oldest bytes at a cap or on a full disk.

use std::sync::Arc;

use crate::{
    files::{is_full, read_up_to, write_all},
    lines::Lines,
    marks::{Mark, MarkSlots, Marks},
    track::{Appended, Encoding, Track},
};

mod reclaim;

/// The most bytes that one step frees at the cap: 2 ms of hole punching on ext4.
const STEP_BYTES_MAX: u64 = 32 << 20;
/// The size of one read while lines are recounted: 1 MiB.
const COUNT_BYTES: u64 = 1 << 20;
/// Bytes between two marks. A start after a crash reads at most this much of each output.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// The limits on what a track keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cap {
    /// The limit in bytes.
    pub(crate) bytes: u64,
    /// The limit in lines; 0 means no limit.
    pub(crate) lines: u64,
}

/// The one writer of a track.
pub(crate) struct Appender {
    track: Arc<Track>,
    slots: MarkSlots,
    encoding: Encoding,
    /// The limit in bytes.
    cap: u64,
    /// The line counter, if lines are limited.
    lines: Option<Lines>,
    kind: u8,
    /// The present marks, published or about to be published.
    marks: Marks,
    /// Blocks that end at or before this offset are already holes.
    punched: u64,
    /// The length in the last mark.
    marked: u64,
    /// Whether the file system can free the beginning of a file. The first failure sets this to
    /// false.
    can_punch: bool,
    /// Bytes were lost, and no mark on disk records the loss yet. Nothing is written before such a
    /// mark: otherwise the next start would treat the gap as output.
    unmarked_loss: bool,
}

impl Appender {
    /// Resumes at the end of the track, and publishes to readers that the track has a writer again.
    pub(crate) fn new(
        track: Arc<Track>,
        slots: MarkSlots,
        encoding: Encoding,
        cap: Cap,
        kind: u8,
    ) -> Self {
        let marks = Marks {
            ended: false,
            aborted: false,
            ..track.current_marks()
        };
        let mut appender = Self {
            track,
            slots,
            encoding,
            cap: cap.bytes,
            lines: Lines::new(cap.lines),
            kind,
            marks,
            punched: 0,
            marked: marks.len,
            can_punch: true,
            unmarked_loss: false,
        };
        // A kill between the mark and the punching leaves blocks that are no longer kept.
        appender.free_leftover_blocks();
        appender.recount_lines();
        appender.publish();
        appender
    }

    /// Counts the lines of the kept bytes: line counts are not stored on disk.
    fn recount_lines(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        let mut at = self.marks.kept_from;
        while at < self.marks.len {
            let want = (self.marks.len - at).min(COUNT_BYTES) as usize;
            match read_up_to(&*self.track.file, at, want) {
                Ok(bytes) if !bytes.is_empty() => {
                    lines.count(&bytes, at);
                    at += bytes.len() as u64;
                }
                other => {
                    tracing::warn!(
                        ?other,
                        "could not recount lines; more lines than the limit may be kept"
                    );
                    return;
                }
            }
        }
    }

    pub(crate) fn current_marks(&self) -> Marks {
        self.marks
    }

    /// Appends `bytes`, and never fails. On a full disk, `rescue` first frees less important data
    /// and returns whether it freed any. After that, the oldest bytes of this track are freed.
    /// Bytes that still cannot be written count in the length, and `kept_from` lies after them.
    ///
    /// UTF-8 must be whole characters.
    pub(crate) fn append(&mut self, bytes: &[u8], rescue: &mut dyn FnMut(u64) -> bool) -> Appended {
        let mut result = Appended::default();
        if bytes.is_empty() {
            return result;
        }
        let kept_before = self.marks.kept_from;
        let start = self.marks.len;
        let room = bytes.len() as u64;
        let failed = self.unmarked_loss
            || loop {
                // After freeing, all bytes are written again; a part that was already written is
                // overwritten with the same bytes.
                let Err(error) = write_all(&*self.track.file, bytes, start) else {
                    break false;
                };
                result.disk_full |= is_full(&error);
                if is_full(&error) && (rescue(room) || self.free_for(room)) {
                    continue;
                }
                tracing::warn!(%error, bytes = room, "could not write appended bytes to the spool");
                break true;
            };
        if self.encoding == Encoding::Utf8 {
            let mut hasher = crc32fast::Hasher::new_with_initial(self.marks.crc32);
            hasher.update(bytes);
            self.marks.crc32 = hasher.finalize();
        }
        self.marks.len += room;
        if failed {
            result.lost = room;
            self.drop_all();
        } else if let Some(target) = self.excess_end(bytes, start) {
            // On an error nothing was freed; the next append beyond the cap retries.
            let _ = self.free_to(target, false);
        } else {
            if self.marks.len - self.marked >= CHECKPOINT_BYTES {
                self.mark();
            }
            self.publish();
        }
        result.freed = self.marks.kept_from.min(start) - kept_before;
        result
    }

    /// Counts the bytes appended at `start`, and returns the offset up to which bytes must be freed
    /// to stay within the limits; None if nothing must be freed.
    fn excess_end(&mut self, bytes: &[u8], start: u64) -> Option<u64> {
        let floor = self
            .lines
            .as_mut()
            .map_or(0, |lines| lines.count(bytes, start));
        let mut target = floor;
        if self.marks.len - self.marks.kept_from > self.cap {
            let step = (self.cap / 32).min(STEP_BYTES_MAX);
            target = target.max(self.marks.len - self.cap + step);
        }
        (target > self.marks.kept_from).then_some(target)
    }

    /// Returns the mark of the present state.
    fn current_mark(&self) -> Mark {
        let Marks {
            len,
            kept_from,
            crc32,
            ended,
            aborted: _,
        } = self.marks;
        Mark {
            kept_from,
            len,
            crc32,
            ended,
            kind: self.kind,
        }
    }

    /// Writes a mark that frees nothing.
    fn mark(&mut self) {
        self.marked = self.marks.len;
        if let Err(error) = self.slots.write(self.current_mark()) {
            tracing::warn!(%error, "could not write a mark; the next start reads more");
        }
    }

    /// Replaces the record: tests pass one that is writable again.
    #[cfg(test)]
    pub(crate) fn use_slots(&mut self, slots: MarkSlots) {
        self.slots = slots;
    }

    fn publish(&self) {
        self.track.marks.send_replace(self.marks);
    }

    /// Publishes the end: readers see a clean end after the last byte.
    pub(crate) fn finish(&mut self) {
        self.marks.ended = true;
        self.mark();
        self.publish();
    }

    /// Publishes that no bytes follow and that some may be missing.
    pub(crate) fn abort(&mut self) {
        self.marks.aborted = true;
        self.publish();
    }
}
