//! The writing side of a track: append, and free the oldest bytes at a cap or on a full disk.

use std::sync::Arc;

use crate::{
    files::{is_full, read_up_to, write_all},
    lines::Lines,
    marks::{Mark, MarkSlots, Marks},
    track::{Appended, Encoding, Track},
};

mod reclaim;

/// The largest step in which the cap frees: 2 ms of hole punching on ext4.
const STEP_BYTES_MAX: u64 = 32 << 20;
/// Read at once while lines are counted again: 1 MiB.
const COUNT_BYTES: u64 = 1 << 20;
/// A mark is written this often, so that a start after a crash reads at most this much of each
/// output.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// The most that is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cap {
    /// In bytes.
    pub(crate) bytes: u64,
    /// In lines; 0 is no cap.
    pub(crate) lines: u64,
}

/// The one writer of a track.
pub(crate) struct Appender {
    track: Arc<Track>,
    slots: MarkSlots,
    encoding: Encoding,
    /// The most that is kept, in bytes.
    cap: u64,
    /// Where lines are capped.
    lines: Option<Lines>,
    kind: u8,
    now: Marks,
    /// Whole blocks before this are holes already.
    punched: u64,
    /// The length that the last mark holds.
    marked: u64,
    /// Whether the file system frees the beginning of a file; learned from the first try that
    /// fails.
    can_punch: bool,
    /// Bytes were lost, and no mark on disk says so. Nothing is written until one does: otherwise
    /// the next start would take the gap for output.
    unmarked_loss: bool,
}

impl Appender {
    /// Goes on where the track stands, and tells readers that it is written again.
    pub(crate) fn new(
        track: Arc<Track>,
        slots: MarkSlots,
        encoding: Encoding,
        cap: Cap,
        kind: u8,
    ) -> Self {
        let now = Marks {
            ended: false,
            aborted: false,
            ..track.now()
        };
        let mut appender = Self {
            track,
            slots,
            encoding,
            cap: cap.bytes,
            lines: Lines::new(cap.lines),
            kind,
            now,
            punched: 0,
            marked: now.len,
            can_punch: true,
            unmarked_loss: false,
        };
        // A kill between the mark and the punching leaves blocks that nobody may read any more.
        appender.free_again();
        appender.count_again();
        appender.publish();
        appender
    }

    /// The lines of what is kept already: they are on disk only as what they are.
    fn count_again(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        let mut at = self.now.kept_from;
        while at < self.now.len {
            let want = (self.now.len - at).min(COUNT_BYTES) as usize;
            match read_up_to(&*self.track.file, at, want) {
                Ok(bytes) if !bytes.is_empty() => {
                    lines.count(&bytes, at);
                    at += bytes.len() as u64;
                }
                other => {
                    tracing::warn!(?other, "lines are not counted: more of them may be kept");
                    return;
                }
            }
        }
    }

    pub(crate) fn now(&self) -> Marks {
        self.now
    }

    /// Appends, whatever the disk says. When it is full, `rescue` may free something that counts
    /// less and say whether it did; then the oldest bytes here go; what still cannot be written is
    /// counted and lies before `kept_from`.
    ///
    /// Text must be whole characters.
    pub(crate) fn append(&mut self, bytes: &[u8], rescue: &mut dyn FnMut(u64) -> bool) -> Appended {
        let mut done = Appended::default();
        if bytes.is_empty() {
            return done;
        }
        let kept_before = self.now.kept_from;
        let start = self.now.len;
        let room = bytes.len() as u64;
        let failed = self.unmarked_loss
            || loop {
                // After freeing, all bytes are written again: a part that was written before is
                // overwritten with the same bytes.
                let Err(error) = write_all(&*self.track.file, bytes, start) else {
                    break false;
                };
                done.disk_full |= is_full(&error);
                if is_full(&error) && (rescue(room) || self.free_for(room)) {
                    continue;
                }
                tracing::warn!(%error, bytes = room, "the spool could not keep what was appended");
                break true;
            };
        if self.encoding == Encoding::Utf8 {
            let mut hasher = crc32fast::Hasher::new_with_initial(self.now.crc32);
            hasher.update(bytes);
            self.now.crc32 = hasher.finalize();
        }
        self.now.len += room;
        if failed {
            done.lost = room;
            self.drop_all();
        } else if let Some(target) = self.excess_end(bytes, start) {
            // After a failure nothing is freed, and the next append beyond the cap tries again.
            let _ = self.free_to(target, false);
        } else {
            if self.now.len - self.marked >= CHECKPOINT_BYTES {
                self.mark();
            }
            self.publish();
        }
        done.freed = self.now.kept_from.min(start) - kept_before;
        done
    }

    /// Counts what was appended at `start`, and returns the offset before which all must go to stay
    /// under the caps; None when nothing must.
    fn excess_end(&mut self, bytes: &[u8], start: u64) -> Option<u64> {
        let floor = self
            .lines
            .as_mut()
            .map_or(0, |lines| lines.count(bytes, start));
        let mut target = floor;
        if self.now.len - self.now.kept_from > self.cap {
            let step = (self.cap / 32).min(STEP_BYTES_MAX);
            target = target.max(self.now.len - self.cap + step);
        }
        (target > self.now.kept_from).then_some(target)
    }

    /// Returns the mark of the present state.
    fn current_mark(&self) -> Mark {
        let Marks {
            len,
            kept_from,
            crc32,
            ended,
            aborted: _,
        } = self.now;
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
        self.marked = self.now.len;
        if let Err(error) = self.slots.write(self.current_mark()) {
            tracing::warn!(%error, "a mark could not be written; the next start reads more");
        }
    }

    /// Replaces the record, in tests by one that takes writes again.
    #[cfg(test)]
    pub(crate) fn use_slots(&mut self, slots: MarkSlots) {
        self.slots = slots;
    }

    fn publish(&self) {
        self.track.marks.send_replace(self.now);
    }

    /// Publishes the end: readers that have read all see a clean end.
    pub(crate) fn finish(&mut self) {
        self.now.ended = true;
        self.mark();
        self.publish();
    }

    /// Publishes that nothing follows and something may be missing.
    pub(crate) fn abort(&mut self) {
        self.now.aborted = true;
        self.publish();
    }
}
