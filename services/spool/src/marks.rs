//! The extent of an output or events file (its length and its oldest kept offset): as readers see
//! it ([`Marks`]), and as a checkpoint on disk ([`Mark`]).

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use crate::{
    files::{u32_at, u64_at},
    layout::{EVENTS_MARKS_AT, MARK_BYTES, OUTPUT_MARKS_AT},
};

/// The present extent of an execution's output, as published to its readers. Offsets and lengths
/// count output bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The length: every byte ever appended, kept or not.
    pub len: u64,
    /// The oldest kept offset. The kept bytes are always `kept_from..len`.
    pub kept_from: u64,
    /// The CRC-32 (zlib's polynomial) of the whole output, kept or not. A client verifies with it
    /// what it received.
    pub crc32: u32,
    /// Whether the output is complete: nothing will follow, and nothing is missing at the end.
    pub ended: bool,
    /// Whether the writer was dropped without finishing, so that bytes may be missing. False again
    /// once another writer continues.
    pub aborted: bool,
}

/// A checkpoint of a file's extent, stored in the record. It holds what the file no longer shows
/// once its oldest bytes are freed, and saves reading all of the file after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) kept_from: u64,
    /// The length at the checkpoint; the file may be longer. If the output holds the events, this
    /// is instead the events' offset that corresponds to `kept_from` in the output.
    pub(crate) len: u64,
    /// The crc32 of the first `len` bytes.
    pub(crate) crc32: u32,
    pub(crate) ended: bool,
    /// How the events are kept ([`crate::EventsStorage`]), 0 if unknown; 0 for the output.
    pub(crate) kind: u8,
}

impl Mark {
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

/// The error of [`MarkSlots::mark_then_free`]: which of its two steps failed.
#[derive(Debug)]
pub(crate) enum Unfreed {
    /// The mark, the checkpoint that gives the bytes up, could not be written, so no byte was
    /// freed.
    Mark(io::Error),
    /// The mark was written, but freeing failed: the bytes before its `kept_from` may still use
    /// disk space.
    Bytes(io::Error),
}

impl From<Unfreed> for io::Error {
    fn from(unfreed: Unfreed) -> Self {
        match unfreed {
            Unfreed::Mark(error) | Unfreed::Bytes(error) => error,
        }
    }
}

/// Which of an execution's two files a mark (checkpoint) describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackKind {
    Output,
    Events,
}

/// The two places in the record for the marks (checkpoints) of one file. They are written in turn,
/// so a torn write leaves the previous mark.
#[derive(Debug, Clone)]
pub(crate) struct MarkSlots {
    record: Arc<File>,
    at: u64,
    number: u64,
}

impl MarkSlots {
    /// Reads the newest intact mark (checkpoint) of `track` from the record, and returns it with
    /// the places for the next ones. The default mark (nothing written yet) if there is none.
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

    /// Frees bytes in the order that survives a kill: writes `mark`, the checkpoint that gives the
    /// bytes up, then calls `free`. A reader after a restart thus never takes freed bytes (zeros)
    /// for output. If the mark cannot be written, `free` is not called.
    pub(crate) fn mark_then_free(
        &mut self,
        mark: Mark,
        free: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Unfreed> {
        self.write(mark).map_err(Unfreed::Mark)?;
        free().map_err(Unfreed::Bytes)
    }

    /// Waits until the written checkpoints are on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.record.sync_data()
    }

    /// Writes a mark (checkpoint) without waiting for the disk. It survives a kill of the service.
    /// A power cut may lose it, but then also the output that it counts.
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
