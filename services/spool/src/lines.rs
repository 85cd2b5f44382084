//! How many lines are kept, without a list of them: only where every so many of them end.
//!
//! What is kept of an output is a suffix, counted in parts of a 32nd of the limit (of one line each
//! below 64):
//!
//! ```text
//! freed | part | part | ... | part | open
//! ```
//!
//! A part goes when what follows it has as many lines as the limit. So a line among the last
//! `limit` never goes, and what is kept has less than a part more than that. A line ends with a
//! newline; what follows the last newline is kept beside them.

use std::collections::VecDeque;

use memchr::memchr_iter;

/// How many parts the limit is counted in; there are never twice as many.
const PARTS: u64 = 32;

/// The lines of what is kept. At most half a KiB, whatever the limit.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    limit: u64,
    /// The lines of a part.
    step: u64,
    /// The offsets behind the parts, all of `step` lines; the first may be freed to some extent.
    parts: VecDeque<u64>,
    /// The lines behind the last part.
    open: u64,
    /// The offset behind the last part that went.
    floor: u64,
}

impl Lines {
    /// None where the limit is 0: there is none then.
    pub(crate) fn new(limit: u64) -> Option<Self> {
        (limit > 0).then(|| Self {
            limit,
            step: (limit / PARTS).max(1),
            parts: VecDeque::new(),
            open: 0,
            floor: 0,
        })
    }

    /// Counts what was appended at `at`, and says from which offset on the output has to be kept.
    pub(crate) fn count(&mut self, bytes: &[u8], at: u64) -> u64 {
        // Counting without looking at each is several times quicker, and mostly enough.
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

    fn drop_parts(&mut self) {
        while let Some(first) = self.parts.front().copied() {
            let behind = (self.parts.len() as u64 - 1) * self.step + self.open;
            if behind < self.limit {
                break;
            }
            self.floor = first;
            self.parts.pop_front();
        }
    }

    /// What lies before `kept_from` went for another reason; `len` is where the output ends.
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
        /// Against a list of all newlines: no line of the last `limit` goes, less than a part is
        /// kept beside them, and the memory has its bound.
        #[test]
        fn it_keeps_the_limit_and_less_than_a_part_more(
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
                prop_assert!(floor == 0 || newlines.contains(&(floor - 1)), "a line's beginning");
                prop_assert!(lines.parts.len() as u64 <= 2 * PARTS);
            }
        }
    }

    #[test]
    fn no_limit_counts_nothing() {
        assert!(Lines::new(0).is_none());
    }
}
