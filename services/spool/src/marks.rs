//! How much of an output or events file exists: its length and its oldest stored offset. Readers
//! see it as [`Marks`]; a checkpoint on disk ([`Mark`]) preserves it across a crash.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use crate::{
    files::{u32_at, u64_at},
    layout::{EVENTS_MARKS_AT, MARK_BYTES, OUTPUT_MARKS_AT},
};

/// How much output of an execution exists now: its length, its oldest stored byte and its checksum,
/// as published to readers. Offsets and lengths count output bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The number of bytes ever appended, including those that are no longer on disk.
    pub len: u64,
    /// The offset of the oldest byte on disk. The bytes on disk are always `kept_from..len`.
    pub kept_from: u64,
    /// The CRC-32 (zlib's polynomial) of all output ever appended, also of what is no longer on
    /// disk. A client verifies with it what it received.
    pub crc32: u32,
    /// Whether the output is complete: no more will follow, and no bytes are missing at the end.
    pub ended: bool,
    /// Whether the writer was dropped without finishing, so that bytes may be missing at the end.
    /// False again once another writer continues.
    pub aborted: bool,
}

/// A checkpoint of how much of an output or events file exists, stored in the execution's record
/// file. It holds what the file itself no longer shows once its oldest bytes are freed. It also
/// saves reading the whole file after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// The offset of the oldest byte on disk.
    pub(crate) kept_from: u64,
    /// The length at the checkpoint; the file may be longer. In a checkpoint of events that are
    /// rebuilt from the output, this is instead the offset in the events that corresponds to
    /// `kept_from` in the output.
    pub(crate) len: u64,
    /// The CRC-32 of the first `len` bytes; 0 for events.
    pub(crate) crc32: u32,
    /// Whether the file was complete at the checkpoint.
    pub(crate) ended: bool,
    /// How the events are stored, as a number ([`crate::EventsStorage`]). 0 if it is not known yet,
    /// and in a checkpoint of the output.
    pub(crate) kind: u8,
}

impl Mark {
    /// Returns the checkpoint as it is stored on disk, with a checksum. `number` counts the
    /// checkpoints, so that the newer of two is known.
    fn encode(self, number: u64) -> [u8; 64] {
        let Self {
            kept_from,
            len,
            crc32,
            ended,
            kind,
        } = self;
        let mut bytes = [0; 64];
        bytes[0..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..16].copy_from_slice(&kept_from.to_le_bytes());
        bytes[16..24].copy_from_slice(&len.to_le_bytes());
        bytes[24..28].copy_from_slice(&crc32.to_le_bytes());
        bytes[28] = u8::from(ended);
        bytes[29] = kind;
        let check = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Parses a checkpoint read from disk, and returns its number and content. `None` if it was
    /// never written or its checksum is wrong.
    fn decode(bytes: &[u8; 64]) -> Option<(u64, Self)> {
        let number = u64_at(bytes, 0);
        (number > 0 && crc32fast::hash(&bytes[..60]) == u32_at(bytes, 60)).then(|| {
            let mark = Self {
                kept_from: u64_at(bytes, 8),
                len: u64_at(bytes, 16),
                crc32: u32_at(bytes, 24),
                ended: bytes[28] != 0,
                kind: bytes[29],
            };
            (number, mark)
        })
    }
}

/// The reason why the oldest bytes of a file were not freed, from [`MarkSlots::mark_then_free`].
#[derive(Debug)]
pub(crate) enum Unfreed {
    /// The checkpoint that gives the bytes up could not be written, so no byte was freed.
    Mark(io::Error),
    /// The checkpoint was written, but freeing the disk blocks failed. The bytes before its
    /// `kept_from` may still use disk space; no reader gets them.
    Bytes(io::Error),
}

impl From<Unfreed> for io::Error {
    fn from(unfreed: Unfreed) -> Self {
        match unfreed {
            Unfreed::Mark(error) | Unfreed::Bytes(error) => error,
        }
    }
}

/// Which of an execution's two files a checkpoint describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackKind {
    /// The output that clients read.
    Output,
    /// The raw events (the exact stdout of the CLI), or the patches that rebuild them from the
    /// output.
    Events,
}

/// The two places in the record file for the checkpoints of one file. They are written in turn, so
/// a torn write leaves the previous checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct MarkSlots {
    /// The open record file.
    record: Arc<File>,
    /// The offset of the first of the two places in the record file.
    at: u64,
    /// The number of the checkpoint written last; 0 if none was written.
    number: u64,
}

impl MarkSlots {
    /// Reads the newest intact checkpoint of `track` from the record file. Returns it with the
    /// places to write the next ones. If no checkpoint was ever written, it is the default one,
    /// with length 0.
    ///
    /// # Errors
    /// The error of the operating system, or `UnexpectedEof` if the record file is too short.
    pub(crate) fn load(record: Arc<File>, track: TrackKind) -> io::Result<(Self, Mark)> {
        let at = match track {
            TrackKind::Output => OUTPUT_MARKS_AT,
            TrackKind::Events => EVENTS_MARKS_AT,
        };
        let mut newest = (0, Mark::default());
        for slot in 0..2 {
            let mut bytes = [0; 64];
            record.read_exact_at(&mut bytes, at + slot * MARK_BYTES)?;
            if let Some(numbered) = Mark::decode(&bytes)
                && numbered.0 > newest.0
            {
                newest = numbered;
            }
        }
        let (number, mark) = newest;
        Ok((Self { record, at, number }, mark))
    }

    /// Frees the oldest bytes of a file in an order that survives a kill. First writes the
    /// checkpoint `mark`, which gives the bytes up, then calls `free`. So a reader after a restart
    /// never takes freed bytes, which read as zeros, for output. If the checkpoint cannot be
    /// written, `free` is not called.
    pub(crate) fn mark_then_free(
        &mut self,
        mark: Mark,
        free: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Unfreed> {
        self.write(mark).map_err(Unfreed::Mark)?;
        free().map_err(Unfreed::Bytes)
    }

    /// Waits until the checkpoints written so far are on disk (fdatasync(2)).
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.record.sync_data()
    }

    /// Writes a checkpoint to the record file without waiting for the disk. It survives a kill of
    /// the service. A power cut may lose it, but then also the output that it counts.
    pub(crate) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let number = self.number + 1;
        let at = self.at + (number % 2) * MARK_BYTES;
        self.record.write_all_at(&mark.encode(number), at)?;
        self.number = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_returns_the_newest_whole_mark() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        file.set_len(4096).unwrap();
        let (mut slots, mark) = MarkSlots::load(Arc::clone(&file), TrackKind::Events).unwrap();
        assert_eq!(mark, Mark::default());
        for len in 1..5 {
            let mark = Mark {
                len,
                kept_from: 1,
                crc32: 7,
                ended: len == 4,
                kind: 2,
            };
            slots.write(mark).unwrap();
            let (_, found) = MarkSlots::load(Arc::clone(&file), TrackKind::Events).unwrap();
            assert_eq!(found, mark);
        }
        file.write_all_at(&[0xff; 8], slots.at + (slots.number % 2) * MARK_BYTES)
            .unwrap();
        let (_, found) = MarkSlots::load(Arc::clone(&file), TrackKind::Events).unwrap();
        assert_eq!(found.len, 3, "a torn mark leaves the previous one");
        let (_, other) = MarkSlots::load(file, TrackKind::Output).unwrap();
        assert_eq!(other, Mark::default());
    }
}
