//! The file of an execution's output or raw events, which one writer appends to and any number of
//! readers follow, and its recovery after a crash.

use std::io;

use tokio::sync::watch;

use crate::{
    files::{SparseFile, read_up_to},
    marks::{Mark, MarkSlots, Marks},
};

/// The cost of one append to output or raw events: older bytes that were freed, and new bytes that
/// could not be written. All zero and false if everything was written and no older byte was freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// The number of older bytes that were freed, either to stay within a limit or to make room on
    /// a full disk.
    pub freed: u64,
    /// The number of appended bytes that could not be written. They count in the length, but
    /// readers cannot read them.
    pub lost: u64,
    /// Whether the disk or a quota was full during the append, even if freeing older bytes made
    /// room.
    pub disk_full: bool,
}

/// Whether the bytes of a file are UTF-8 text, which decides where the file may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8 text with a CRC-32 of all bytes. The oldest bytes are freed only up to the boundary of
    /// a character.
    Utf8,
    /// Arbitrary bytes without a checksum. The oldest ones may be freed up to any offset.
    Bytes,
}

/// The open file of an execution's output or raw events, shared by its writer and its readers.
pub(crate) struct Track {
    /// The file.
    pub(crate) file: Box<dyn SparseFile>,
    /// The present length, oldest stored offset and checksum. Changes only after bytes are written,
    /// and before bytes are freed, so readers never read freed bytes (zeros).
    pub(crate) marks: watch::Sender<Marks>,
}

impl Track {
    /// Opens an existing output or events file, and recovers its length and checksum after a crash.
    /// `mark` is the newest checkpoint in `slots`. `ended` means that the execution has ended, so
    /// that no more bytes are appended, even if the checkpoint does not say so.
    ///
    /// # Errors
    /// The error of the operating system.
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

    /// Returns the present length, oldest stored offset and checksum, as last published by the
    /// writer.
    pub(crate) fn current_marks(&self) -> Marks {
        *self.marks.borrow()
    }
}

/// The size of one read while the checksum is recovered after a crash (1 MiB).
const RECOVERY_BYTES: usize = 1 << 20;

/// Recovers the length, the checksum and the oldest stored offset of a file after a kill or a power
/// cut.
///
/// A kill leaves every byte of a write that returned, and perhaps a part of an unfinished write. No
/// reader has seen that part, so a torn character at the end is cut off. A power cut can also lose
/// bytes that the checkpoint counts. If older bytes were freed before or the file was complete, its
/// rest is then given up, and the length and the checksum stay correct.
///
/// A wrong checkpoint is corrected on disk before this returns. Otherwise it would later count
/// bytes as stored that were freed or written later.
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

/// Returns how many bytes of an incomplete UTF-8 character are at the end of `last`, the last bytes
/// of the file (up to three). 0 if the file ends with a whole character.
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

/// Whether a byte is the second or a later byte of a UTF-8 character.
pub(crate) fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
pub(crate) mod tests;
