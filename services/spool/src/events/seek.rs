//! From an offset in the events to its place in the output and the patches.
//!
//! The output and the events have the same bytes between two patches; each patch shifts all that
//! follows. So one walk over the patches finds any offset, and reads no output.

use bytes::Bytes;

use crate::{
    error::ReadError,
    marks::Marks,
    patches::{Block, Floor, PatchLog},
    track::Track,
};

/// How far the events go, in bytes of the CLI's stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsExtent {
    /// The oldest offset that is kept.
    pub kept_from: u64,
    /// The length: every byte ever written, kept or not.
    pub len: u64,
    /// Nothing will follow, and nothing is missing at the end.
    pub ended: bool,
}

impl EventsExtent {
    /// The extent of a file that has the events themselves.
    pub(super) fn of(marks: Marks) -> Self {
        let Marks {
            len,
            kept_from,
            ended,
            ..
        } = marks;
        Self {
            kept_from,
            len,
            ended,
        }
    }

    /// Returns where a reader begins: at the offset asked for, or at the oldest kept byte.
    pub(super) fn start(self, offset: Option<u64>) -> Result<u64, ReadError> {
        let Self { kept_from, len, .. } = self;
        match offset.unwrap_or(kept_from) {
            offset if offset > len => Err(ReadError::Beyond { len }),
            offset if offset < kept_from => Err(ReadError::NotKept { kept_from, len }),
            offset => Ok(offset),
        }
    }
}

/// Where reading begins.
pub(super) struct Place {
    /// The next byte of the output.
    pub(super) output: u64,
    /// The next patch in the log.
    pub(super) log_at: u64,
    /// Original bytes of a patch, to be read before the next byte of the output.
    pub(super) rest: Bytes,
}

/// Finds `offset`, or the oldest kept byte, and how far the events go now. Blocks on the disk.
pub(super) fn find(
    output: &Track,
    log: &PatchLog,
    offset: Option<u64>,
) -> Result<(Place, EventsExtent), ReadError> {
    loop {
        let floor = log.floor();
        // Before the walk: a patch is in the log before the output that it is about.
        let found = walk(output.now(), log, floor, offset);
        if log.floor() == floor {
            return found;
        }
    }
}

fn walk(
    marks: Marks,
    log: &PatchLog,
    floor: Floor,
    offset: Option<u64>,
) -> Result<(Place, EventsExtent), ReadError> {
    // The output up to the floor may not be there yet.
    let end = marks.len.max(floor.output);
    let oldest = marks.kept_from.max(floor.output);
    // The place behind the last patch, in both.
    let (mut output, mut events) = (floor.output, floor.events);
    let (mut kept_from, mut place) = (None, None);
    let (mut at, mut block) = (0, Block::default());
    while let Some((patch, next)) = log.read_ahead(at, &mut block)?
        && patch.end() <= end
    {
        if patch.offset >= floor.output {
            let begin = events + (patch.offset - output);
            if kept_from.is_none() && patch.end() > oldest {
                kept_from = Some(events + (oldest.min(patch.offset) - output));
            }
            if let (Some(kept_from), None) = (kept_from, &place) {
                let wanted = offset.unwrap_or(kept_from).max(kept_from);
                place = match wanted.checked_sub(begin).map(usize::try_from) {
                    None => Some(Place {
                        output: output + (wanted - events),
                        log_at: at,
                        rest: Bytes::new(),
                    }),
                    Some(Ok(inside)) if inside < patch.original.len() => Some(Place {
                        output: patch.end(),
                        log_at: next,
                        rest: Bytes::copy_from_slice(&patch.original[inside..]),
                    }),
                    Some(_) => None,
                };
            }
            (output, events) = (patch.end(), begin + patch.original.len() as u64);
        }
        at = next;
    }
    let extent = EventsExtent {
        kept_from: kept_from.unwrap_or_else(|| events + (oldest - output)),
        len: events + (end - output),
        ended: marks.ended,
    };
    let wanted = extent.start(offset)?;
    let behind_all = || Place {
        output: output + (wanted - events),
        log_at: at,
        rest: Bytes::new(),
    };
    Ok((place.unwrap_or_else(behind_all), extent))
}
