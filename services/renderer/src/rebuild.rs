//! Undoes the patches of [`EventsOutput`](crate::EventsOutput): output in, the CLI's stdout out.

use crate::events_output::Patch;

/// Rebuilds stdout from ranges of the output, which may begin anywhere and come in any order.
///
/// The original of a patch is given where the patch begins; a range that begins inside a patch has nothing of it.
#[derive(Debug, Default)]
pub struct Rebuilder {
    /// By offset, without overlap.
    patches: Vec<Patch>,
}

impl Rebuilder {
    /// With the patches so far, in the order in which they were made.
    #[must_use]
    pub fn new(patches: Vec<Patch>) -> Self {
        Self { patches }
    }

    /// Adds later patches. Those of a range must be known before that range is pushed.
    pub fn extend(&mut self, patches: impl IntoIterator<Item = Patch>) {
        self.patches.extend(patches);
    }

    /// Appends the original of the output's bytes at `offset` to `original`.
    pub fn push(&self, mut offset: u64, mut output: &[u8], original: &mut Vec<u8>) {
        let ended = |patch: &Patch| patch.offset + u64::from(patch.len) <= offset;
        for patch in &self.patches[self.patches.partition_point(ended)..] {
            let ahead = patch.offset.saturating_sub(offset);
            if ahead >= output.len() as u64 {
                break;
            }
            if patch.offset >= offset {
                original.extend_from_slice(take(&mut output, &mut offset, ahead));
                original.extend_from_slice(&patch.original);
            }
            let covered = patch.offset + u64::from(patch.len) - offset;
            take(&mut output, &mut offset, covered);
        }
        original.extend_from_slice(output);
    }
}

/// Takes up to `len` bytes off the front.
fn take<'o>(output: &mut &'o [u8], offset: &mut u64, len: u64) -> &'o [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(output.len());
    let (taken, rest) = output.split_at(len);
    *output = rest;
    *offset += len as u64;
    taken
}
