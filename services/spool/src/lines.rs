//! Counts the lines of an output that are on disk, to limit it by lines. Needs constant memory,
//! because it stores only the end of each group of lines, not of every line.
//!
//! The lines on disk are the last ones of the output. They are counted in groups ("parts") of 1/32
//! of the limit, or of one line each if the limit is below 64:
//!
//! ```text
//! freed | part | part | ... | part | open
//! ```
//!
//! A part is dropped once the text after it has `limit` lines. So the last `limit` lines are always
//! on disk, and less than one part more. A line ends with a newline. Text after the last newline
//! stays on disk too, and is not counted.

use std::collections::VecDeque;

use memchr::memchr_iter;

/// The number of groups of lines that make up the limit (32). With more, fewer lines beyond the
/// limit are kept, and more memory is needed.
const PARTS: u64 = 32;

/// Counts the lines of an output that are on disk, and finds the bytes to free at the limit on
/// lines. Needs at most 512 bytes of memory, whatever the limit.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    /// The number of last lines that are always kept.
    limit: u64,
    /// The number of lines in each group.
    step: u64,
    /// The end offset of each complete group of `step` lines, oldest first. The first group may be
    /// partly freed.
    parts: VecDeque<u64>,
    /// The number of lines after the last complete group.
    open: u64,
    /// The end offset of the last dropped group. Output before it need not be kept.
    floor: u64,
}

impl Lines {
    /// Creates a counter that keeps the last `limit` lines of an output. `None` if `limit` is 0,
    /// which means no limit.
    pub(crate) fn new(limit: u64) -> Option<Self> {
        (limit > 0).then(|| Self {
            limit,
            step: (limit / PARTS).max(1),
            parts: VecDeque::new(),
            open: 0,
            floor: 0,
        })
    }

    /// Counts the lines in `bytes`, which were appended to the output at the offset `at`. Returns
    /// the offset before which output need no longer be kept; 0 as long as all lines fit the limit.
    pub(crate) fn count(&mut self, bytes: &[u8], at: u64) -> u64 {
        // Counting newlines without their positions is several times faster, and usually enough.
        let all = memchr_iter(b'\n', bytes).count() as u64;
        if self.open + all < self.step {
            self.open += all;
            self.drop_parts();
            return self.floor;
        }
        for newline in memchr_iter(b'\n', bytes) {
            self.open += 1;
            if self.open == self.step {
                self.parts.push_back(at + newline as u64 + 1);
                self.open = 0;
            }
            self.drop_parts();
        }
        self.floor
    }

    /// Drops the oldest groups that are no longer needed, because the text after them has `limit`
    /// lines.
    fn drop_parts(&mut self) {
        while let Some(first) = self.parts.front().copied() {
            let following = (self.parts.len() as u64 - 1) * self.step + self.open;
            if following < self.limit {
                break;
            }
            self.floor = first;
            self.parts.pop_front();
        }
    }

    /// Stops counting the lines before the offset `kept_from`, which were freed for another reason,
    /// such as the limit on bytes. `len` is the length of the output.
    pub(crate) fn forget(&mut self, kept_from: u64, len: u64) {
        while self.parts.front().is_some_and(|end| *end <= kept_from) {
            self.parts.pop_front();
        }
        if kept_from == len {
            self.open = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares with a list of all newlines: the last `limit` lines and less than one part more
        /// are kept, and memory stays bounded.
        #[test]
        fn count_keeps_the_limit_and_less_than_a_part_more(
            pieces in proptest::collection::vec("[a\n]{0,40}", 1..60),
            limit in prop_oneof![1_u64..10, 60_u64..70, 100_u64..400],
        ) {
            let mut lines = Lines::new(limit).unwrap();
            let mut newlines: Vec<u64> = Vec::new();
            let mut len = 0;
            for piece in pieces {
                let floor = lines.count(piece.as_bytes(), len);
                newlines.extend(memchr_iter(b'\n', piece.as_bytes()).map(|at| len + at as u64));
                len += piece.len() as u64;
                let kept = newlines.iter().filter(|at| **at >= floor).count() as u64;
                prop_assert!(kept >= limit.min(newlines.len() as u64), "{kept} of {limit}");
                prop_assert!(kept < limit + lines.step, "{kept} of {limit}");
                let begins_line = floor == 0 || newlines.contains(&(floor - 1));
                prop_assert!(begins_line, "the floor begins a line");
                prop_assert!(lines.parts.len() as u64 <= 2 * PARTS);
            }
        }
    }

    #[test]
    fn a_limit_of_0_creates_no_counter() {
        assert!(Lines::new(0).is_none());
    }
}
