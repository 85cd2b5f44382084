//! Finding where in the output an offset of the events (the CLI's exact stdout) lies.
//!
//! Between two patches, the output and the events have the same bytes. Each patch shifts all bytes
//! after it. So one walk over the patches finds any offset without reading output.

use bytes::Bytes;

use crate::{
    error::ReadError,
    marks::Marks,
    patches::{Block, Floor, PatchLog},
    track::Track,
};

/// The range of raw events of an execution that exists now. All numbers count bytes of the CLI's
/// stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsExtent {
    /// The offset of the oldest byte that can still be read.
    pub kept_from: u64,
    /// The number of bytes that the CLI has written, including those that are no longer on disk.
    pub len: u64,
    /// Whether the events are complete: no more will follow, and no bytes are missing at the end.
    pub ended: bool,
}

impl EventsExtent {
    /// Returns the range of events that have a file of their own, whose state is `marks`.
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

    /// Returns the offset at which a reader begins: `offset`, or the oldest byte on disk for
    /// `None`.
    ///
    /// # Errors
    /// `Beyond` if `offset` is after the end, and `NotKept` if its bytes are no longer on disk.
    pub(super) fn start(self, offset: Option<u64>) -> Result<u64, ReadError> {
        let Self { kept_from, len, .. } = self;
        match offset.unwrap_or(kept_from) {
            offset if offset > len => Err(ReadError::Beyond { len }),
            offset if offset < kept_from => Err(ReadError::NotKept { kept_from, len }),
            offset => Ok(offset),
        }
    }
}

/// The position in the output and in its patches at which a reader of rebuilt events begins.
pub(super) struct StartPosition {
    /// The offset of the next byte to read from the output.
    pub(super) output: u64,
    /// The position of the next patch in the events file, in bytes.
    pub(super) log_at: u64,
    /// Original bytes of a patch that the reader returns before it reads the output.
    pub(super) rest: Bytes,
}

/// Finds where in the output the bytes at `offset`, an offset of the events, lie. Returns this
/// position with the range of events that exists now. `None` finds the oldest byte on disk. Repeats
/// the search if patches were removed during it. Blocks on the disk.
///
/// # Errors
/// `Beyond` if `offset` is after the end, `NotKept` if its bytes are no longer on disk, or `Io`.
pub(super) fn find(
    output: &Track,
    log: &PatchLog,
    offset: Option<u64>,
) -> Result<(StartPosition, EventsExtent), ReadError> {
    loop {
        let floor = log.floor();
        // Read the marks before the walk: a patch is written before the output that it changes.
        let result = walk(output.current_marks(), log, floor, offset);
        if log.floor() == floor {
            return result;
        }
    }
}

/// Finds `offset` by one pass over all patches, for [`find`]. The result is valid only if the
/// oldest position of `log` is still `floor` afterwards; otherwise patches were removed during the
/// pass.
fn walk(
    marks: Marks,
    log: &PatchLog,
    floor: Floor,
    offset: Option<u64>,
) -> Result<(StartPosition, EventsExtent), ReadError> {
    // The output before the floor may not be written yet.
    let end = marks.len.max(floor.output);
    let oldest = marks.kept_from.max(floor.output);
    // The offsets after the last patch, in the output and in the events.
    let (mut output, mut events) = (floor.output, floor.events);
    let (mut kept_from, mut start) = (None, None);
    let (mut at, mut block) = (0, Block::default());
    while let Some((patch, next)) = log.read_ahead(at, &mut block)?
        && patch.end() <= end
    {
        if patch.offset >= floor.output {
            let begin = events + (patch.offset - output);
            if kept_from.is_none() && patch.end() > oldest {
                kept_from = Some(events + (oldest.min(patch.offset) - output));
            }
            if let (Some(kept_from), None) = (kept_from, &start) {
                let target = offset.unwrap_or(kept_from).max(kept_from);
                start = match target.checked_sub(begin).map(usize::try_from) {
                    None => Some(StartPosition {
                        output: output + (target - events),
                        log_at: at,
                        rest: Bytes::new(),
                    }),
                    Some(Ok(inside)) if inside < patch.original.len() => Some(StartPosition {
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
    let target = extent.start(offset)?;
    let after_all_patches = || StartPosition {
        output: output + (target - events),
        log_at: at,
        rest: Bytes::new(),
    };
    Ok((start.unwrap_or_else(after_all_patches), extent))
}
