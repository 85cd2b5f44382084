//! A file that one writer appends to and any number of readers follow, and what is found of it
//! after a crash.

use std::io;

use tokio::sync::watch;

use crate::{
    files::{SparseFile, read_up_to},
    marks::{Mark, MarkSlots, Marks},
};

/// What became of appended bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Older bytes that were freed to stay under the cap or to find room on a full disk.
    pub freed: u64,
    /// Bytes that could not be written; they count in the length and `kept_from` lies behind them.
    pub lost: u64,
    /// The disk, or a quota, was found full.
    pub disk_full: bool,
}

/// The encoding of a track's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8 whose crc is kept; it is cut at characters only.
    Utf8,
    /// Any bytes; cut anywhere, no crc.
    Bytes,
}

/// The shared side of the file. Readers see `marks` change only after the bytes are written, and
/// bytes are freed only after `marks` says so.
pub(crate) struct Track {
    pub(crate) file: Box<dyn SparseFile>,
    pub(crate) marks: watch::Sender<Marks>,
}

impl Track {
    /// Opens the track of an existing file. `mark` is the newest of `slots`. `ended`: the execution
    /// is terminal, so nothing is appended even if the mark does not say so.
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

    pub(crate) fn now(&self) -> Marks {
        *self.marks.borrow()
    }
}

/// Read at once while recovering: 1 MiB.
const RECOVERY_BYTES: usize = 1 << 20;

/// Finds length, crc and the oldest kept byte again.
///
/// Makes the mark and the file agree after a kill or a power cut. A kill leaves every byte of a
/// write that returned, and perhaps a part of one that did not. Nobody has read that part, so a cut
/// character is trimmed. A power cut can also lose bytes that a mark counts: the rest is then no
/// suffix any more, so nothing is kept and the numbers stay true. A wrong mark is corrected on disk
/// before this returns: an old mark would count bytes as kept that are a hole by then, or were
/// written later.
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
            // Another power cut is likely.
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
    // A mark of a file that has nothing freed only saves reading it all again.
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
    // No mark counts a part of a character.
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
            // A missing mark only makes the next start read more.
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

/// How many of the last bytes (three are enough to look at) begin a character that is not all
/// there.
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

/// Whether a byte is inside a character of UTF-8.
pub(crate) fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
pub(crate) mod tests;
