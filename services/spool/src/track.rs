//! A track: a file (an execution's output or raw events) that one writer appends to and any number
//! of readers follow, and its recovery after a crash.

use std::io;

use tokio::sync::watch;

use crate::{
    files::{SparseFile, read_up_to},
    marks::{Mark, MarkSlots, Marks},
};

/// What an append to output or events cost: older bytes that were freed, and bytes that could not
/// be written. All zero and false if everything was written and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// The number of older bytes that were freed to stay within a limit or to make room on a full
    /// disk.
    pub freed: u64,
    /// The number of appended bytes that could not be written. They still count in the length, and
    /// readers cannot read them.
    pub lost: u64,
    /// Whether the disk or a quota was full during the append, even if freeing made room.
    pub disk_full: bool,
}

/// Whether the bytes of a file are text, which decides where it may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8 with a CRC-32 of all bytes; the oldest bytes are freed only at the boundaries of
    /// characters.
    Utf8,
    /// Arbitrary bytes without a checksum; the oldest may be freed at any offset.
    Bytes,
}

/// The file of an execution's output or raw events, shared by its writer and its readers. `marks`
/// changes only after bytes are written, and before bytes are freed, so readers never read a hole.
pub(crate) struct Track {
    pub(crate) file: Box<dyn SparseFile>,
    pub(crate) marks: watch::Sender<Marks>,
}

impl Track {
    /// Opens an existing file as a track, and recovers its length and checksum after a crash.
    /// `mark` is the newest checkpoint in `slots`. `ended` means that the execution is terminal, so
    /// nothing is appended even if the mark does not say so.
    pub(crate) fn load(
        file: Box<dyn SparseFile>,
        slots: &mut MarkSlots,
        mark: Mark,
        encoding: Encoding,
        ended: bool,
    ) -> io::Result<Self> {
        let marks = recover(&*file, slots, mark, encoding)?;
        let marks = Marks {
            ended: marks.ended || ended,
            ..marks
        };
        Ok(Self {
            file,
            marks: watch::Sender::new(marks),
        })
    }

    /// Returns the present extent, as last published by the writer.
    pub(crate) fn current_marks(&self) -> Marks {
        *self.marks.borrow()
    }
}

/// The size of one read while the checksum is recovered after a crash: 1 MiB.
const RECOVERY_BYTES: usize = 1 << 20;

/// Restores the length, the crc and the oldest kept offset after a kill or a power cut.
///
/// A kill leaves every byte of a write that returned, and perhaps a part of an unfinished write. No
/// reader has seen that part, so a torn character at the end is cut off. A power cut can also lose
/// bytes that a mark counts. The remaining bytes are then no longer a suffix, so nothing is kept,
/// and the length and the crc stay correct.
///
/// A wrong mark is corrected on disk before this returns: an old mark would count bytes as kept
/// that are a hole, or that were written later.
fn recover(
    file: &dyn SparseFile,
    slots: &mut MarkSlots,
    mark: Mark,
    encoding: Encoding,
) -> io::Result<Marks> {
    let size = file.len()?;
    let Mark {
        kept_from,
        len: marked,
        crc32,
        ended,
        kind,
    } = mark;
    if size < marked && (kept_from > 0 || ended) {
        let nothing_kept = Mark {
            kept_from: marked,
            ..mark
        };
        let sync = slots.clone();
        slots.mark_then_free(nothing_kept, || {
            // Sync, because another power cut may follow.
            sync.sync()?;
            file.set_len(0)?;
            file.set_len(marked)
        })?;
        return Ok(Marks {
            len: marked,
            kept_from: marked,
            crc32,
            ended,
            aborted: false,
        });
    }
    // For a file without freed bytes, the mark only saves reading the whole file.
    let (base, base_crc) = if size < marked {
        (0, 0)
    } else {
        (marked, crc32)
    };
    let len = match encoding {
        Encoding::Utf8 => {
            size - torn_character(&read_up_to(file, size - (size - base).min(3), 3)?) as u64
        }
        Encoding::Bytes => size,
    };
    let mut hasher = crc32fast::Hasher::new_with_initial(base_crc);
    let mut at = base;
    while encoding == Encoding::Utf8 && at < len {
        let want = usize::try_from(len - at)
            .unwrap_or(usize::MAX)
            .min(RECOVERY_BYTES);
        let bytes = read_up_to(file, at, want)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&bytes);
        at += bytes.len() as u64;
    }
    let crc32 = hasher.finalize();
    let right = Mark {
        kept_from,
        len,
        crc32,
        ended,
        kind,
    };
    // Cuts off a torn character, which no mark counts.
    let cut = || {
        if len < size {
            file.set_len(len)?;
        }
        Ok(())
    };
    if size < marked {
        let sync = slots.clone();
        slots.mark_then_free(right, || sync.sync().and_then(|()| cut()))?;
    } else {
        cut()?;
        if right != mark {
            // Without this mark, the next start only reads more.
            let _ = slots.write(right);
        }
    }
    Ok(Marks {
        len,
        kept_from,
        crc32,
        ended,
        aborted: false,
    })
}

/// Returns how many bytes of an incomplete character are at the end of `last`, which holds the last
/// bytes of the file (up to three); 0 if it ends with a whole character.
fn torn_character(last: &[u8]) -> usize {
    let Some(start) = last.iter().rposition(|byte| !is_continuation(*byte)) else {
        return 0;
    };
    let has = last.len() - start;
    let needs = match last[start] {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    if has < needs { has } else { 0 }
}

/// Whether a byte continues a character of UTF-8.
pub(crate) fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
pub(crate) mod tests;
