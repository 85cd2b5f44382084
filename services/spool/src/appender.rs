//! Appends bytes to the file of an execution's output or raw events, and frees the oldest ones at a
//! size limit or on a full disk.

use std::sync::Arc;

use crate::{
    files::{is_full, read_up_to, write_all},
    lines::Lines,
    marks::{Mark, MarkSlots, Marks},
    track::{Appended, Encoding, Track},
};

mod reclaim;

/// The most bytes that one step frees beyond what the size limit requires (32 MiB, which is 2 ms of
/// hole punching on ext4). Without this reserve, every append at the limit would free a little.
const STEP_BYTES_MAX: u64 = 32 << 20;
/// The size of one read while a new writer counts the lines of an existing output (1 MiB).
const COUNT_BYTES: u64 = 1 << 20;
/// The number of bytes appended between two checkpoints in the execution's record file (64 MiB). A
/// start after a crash reads at most this much of each output to restore its checksum.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// The limits on how much of an output or events file stays on disk. Beyond them, its oldest bytes
/// are freed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cap {
    /// The most bytes that stay on disk.
    pub(crate) bytes: u64,
    /// The most lines that stay on disk; 0 means no limit.
    pub(crate) lines: u64,
}

/// The only writer of the file of an execution's output or raw events. Appends bytes, publishes the
/// new length to readers, and frees the oldest bytes at the limits.
pub(crate) struct Appender {
    /// The file, shared with its readers.
    track: Arc<Track>,
    /// The places for checkpoints of this file in the execution's record file.
    slots: MarkSlots,
    /// Whether the bytes are UTF-8 text, which decides where the file may be cut.
    encoding: Encoding,
    /// The most bytes that stay on disk.
    cap: u64,
    /// The counter of lines; `None` if the number of lines is not limited.
    lines: Option<Lines>,
    /// How the events are stored, as a number that is copied into each checkpoint; 0 for the
    /// output.
    kind: u8,
    /// The present length, oldest stored offset and checksum, published to readers or about to be.
    marks: Marks,
    /// The offset before which all whole disk blocks have been freed already.
    punched: u64,
    /// The length of the file at the last checkpoint.
    marked: u64,
    /// Whether the file system can free the beginning of a file (hole punching, fallocate(2)). The
    /// first failure sets this to false. From then on, all bytes are dropped at the size limit.
    can_punch: bool,
    /// Whether bytes were lost and no checkpoint on disk records the loss yet. Until one does, new
    /// bytes are dropped too, because the next start would otherwise treat the gap as output.
    unmarked_loss: bool,
}

impl Appender {
    /// Creates the writer of an existing output or events file, which appends after the last byte.
    /// First frees disk blocks that a crash left behind, and counts the lines of an output with a
    /// limit on lines. Publishes to readers that the file has a writer again.
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

    /// Counts the lines that an earlier writer left in the file, because line counts are not stored
    /// on disk. If a read fails, the rest is not counted, and more lines than the limit may stay.
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
                        "could not count the lines of an existing output; more lines than the \
                         limit may be kept"
                    );
                    return;
                }
            }
        }
    }

    /// Returns the present length, oldest stored offset and checksum of the file.
    pub(crate) fn current_marks(&self) -> Marks {
        self.marks
    }

    /// Appends `bytes` to the file and publishes them to readers. Never fails; the result reports
    /// bytes that could not be written. They count in the length, and readers get `NotKept` for
    /// them and for all older bytes. If the bytes are UTF-8 text, they must be whole characters.
    ///
    /// On a full disk, `rescue` first frees less important data. It gets the number of bytes
    /// needed, and returns whether it freed any. If that is not enough, the oldest bytes of this
    /// file are freed.
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
                tracing::warn!(
                    %error,
                    bytes = room,
                    "could not write output or events to the spool; dropping these and all older \
                     bytes of the file"
                );
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

    /// Counts the bytes appended at the offset `start` against the limits on bytes and lines.
    /// Returns the offset before which bytes must be freed; `None` if the limits are met.
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

    /// Returns the checkpoint that describes the present length, oldest stored offset and checksum.
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

    /// Writes a checkpoint of the present length to the record file, without freeing any bytes. An
    /// error is only logged, because the next start then only reads more of the file.
    fn mark(&mut self) {
        self.marked = self.marks.len;
        if let Err(error) = self.slots.write(self.current_mark()) {
            tracing::warn!(
                %error,
                "could not write a checkpoint of output or events; a start after a crash reads more"
            );
        }
    }

    /// Replaces the record: tests pass one that is writable again.
    #[cfg(test)]
    pub(crate) fn use_slots(&mut self, slots: MarkSlots) {
        self.slots = slots;
    }

    /// Publishes the present length, oldest stored offset and checksum to the readers.
    fn publish(&self) {
        self.track.marks.send_replace(self.marks);
    }

    /// Publishes that the file is complete, so that readers return `None` after the last byte, and
    /// records it in a checkpoint.
    pub(crate) fn finish(&mut self) {
        self.marks.ended = true;
        self.mark();
        self.publish();
    }

    /// Publishes that the writer was dropped without finishing. Readers fail with `Aborted` after
    /// the last byte, because bytes may be missing.
    pub(crate) fn abort(&mut self) {
        self.marks.aborted = true;
        self.publish();
    }
}
