//! How an execution's raw events (the exact stdout of the CLI) are stored, and the open `events`
//! file.

use std::{io, sync::Arc};

use crate::{
    files::SparseFile,
    marks::{Mark, MarkSlots},
    patches::{Floor, PatchLog},
    track::{Encoding, Track},
};

/// How the exact stdout of the CLI is stored, so that clients can read it from `/events`. Fixed by
/// the output format of the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsStorage {
    /// In a file of its own, because the output is rendered text (output format `text`).
    Raw,
    /// In the output itself, with a list of the places where the output differs from the stdout
    /// (output format `events`). The list is short, so the stdout is not stored twice.
    InOutput,
}

impl EventsStorage {
    /// Returns the number that stands for this value in a checkpoint on disk.
    pub(crate) fn kind(self) -> u8 {
        match self {
            Self::Raw => 1,
            Self::InOutput => 2,
        }
    }

    /// Returns the value for a number in a checkpoint on disk. `None` for 0, which means that no
    /// writer has chosen yet, and for an unknown number.
    pub(crate) fn from_kind(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Raw),
            2 => Some(Self::InOutput),
            _ => None,
        }
    }
}

/// The open events file of an execution, as its readers see it.
#[derive(Clone)]
pub(crate) enum EventsState {
    /// Not known yet how the events are stored, because the execution has had no writer.
    Unknown,
    /// The file holds the exact stdout of the CLI.
    Raw(Arc<Track>),
    /// The file holds patches, which rebuild the stdout from the output.
    InOutput(Arc<PatchLog>),
}

impl EventsState {
    /// Opens the raw events in `file`, which are stored as `kept` says, and repairs them after a
    /// crash. `mark` is the newest checkpoint in `slots`, and `output_len` the length of the
    /// output. `ended` means that no more bytes will be appended.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn load(
        file: Box<dyn SparseFile>,
        kept: EventsStorage,
        slots: &mut MarkSlots,
        mark: Mark,
        output_len: u64,
        ended: bool,
    ) -> io::Result<Self> {
        Ok(match kept {
            EventsStorage::Raw => {
                let track = Track::load(file, slots, mark, Encoding::Bytes, ended)?;
                Self::Raw(Arc::new(track))
            }
            EventsStorage::InOutput => {
                let floor = Floor {
                    output: mark.kept_from,
                    // Earlier versions wrote no length.
                    events: if mark.len == 0 {
                        mark.kept_from
                    } else {
                        mark.len
                    },
                };
                let log = PatchLog::load(file, floor, output_len, ended)?;
                Self::InOutput(Arc::new(log))
            }
        })
    }
}
