//! The input of one execution: clients send parts of known lines, with overlaps, repeats and holes,
//! and this checks the answers of claude-api. Pure.

use std::sync::Arc;

use rand::{Rng, rngs::StdRng};

/// One request with input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) offset: u64,
    /// The offset after its last byte.
    end: u64,
    /// The accepted bytes that were known when it was made.
    taken: u64,
}

/// The lines of one execution, and how much of them was sent and accepted.
#[derive(Debug)]
pub(super) struct Input {
    text: Arc<str>,
    /// The end of the bytes that were sent without a hole: claude-api may have accepted these.
    sent: u64,
    /// The ranges that were sent after a hole. claude-api queues them until the execution starts,
    /// and accepts them if the hole is filled before their turn.
    early: Vec<(u64, u64)>,
    /// The most that an answer has counted.
    taken: u64,
}

impl Input {
    pub(super) fn new(text: Arc<str>) -> Self {
        Self {
            text,
            sent: 0,
            early: Vec::new(),
            taken: 0,
        }
    }

    /// The most that an answer has counted.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn length(&self) -> u64 {
        self.text.len() as u64
    }

    fn piece(&mut self, from: usize, to: usize) -> (Offer, String) {
        let (from, to) = (
            self.text.floor_char_boundary(from),
            self.text.ceil_char_boundary(to),
        );
        let offer = Offer {
            offset: from as u64,
            end: to as u64,
            taken: self.taken,
        };
        self.early.push((offer.offset, offer.end));
        while let Some(at) = self.early.iter().position(|(from, _)| *from <= self.sent) {
            let (_, end) = self.early.swap_remove(at);
            self.sent = self.sent.max(end);
        }
        (offer, self.text[from..to].to_owned())
    }

    /// Creates the next request of some client; the flag says whether it ends the input.
    pub(super) fn next(&mut self, rng: &mut StdRng) -> (Offer, String, bool) {
        let whole = self.text.len();
        let taken = usize::try_from(self.taken).unwrap_or(whole);
        let length = match rng.random_range(0..3) {
            0 => rng.random_range(0..40),
            1 => rng.random_range(40..600),
            _ => whole,
        };
        let from = match rng.random_range(0..10) {
            0 => taken + rng.random_range(1..60),
            1..4 => rng.random_range(0..=taken),
            _ => taken,
        };
        let from = from.min(whole);
        let (offer, data) = self.piece(from, (from + length).min(whole));
        let eof = offer.end == self.length() && offer.offset <= self.sent && rng.random_bool(0.7);
        (offer, data, eof)
    }

    /// Creates a request with the whole input, to end it.
    pub(super) fn all(&mut self) -> (Offer, String) {
        self.piece(0, self.text.len())
    }

    /// Injects a bug: sends the first line again after the accepted bytes, and does not count it.
    pub(super) fn first_line_again(&mut self) -> Option<(Offer, String)> {
        let taken = usize::try_from(self.taken).ok()?;
        let line = self.text.split_inclusive('\n').next()?;
        if !line.ends_with('\n') || !self.text[..taken].ends_with('\n') {
            return None;
        }
        let line = line.to_owned();
        self.sent = u64::MAX;
        let offer = Offer {
            offset: self.taken,
            end: self.taken,
            taken: self.taken,
        };
        Some((offer, line))
    }

    /// Records the total after an accepted offer.
    ///
    /// # Errors
    /// If the total is impossible.
    pub(super) fn accepted(&mut self, offer: Offer, total: u64) -> Result<(), String> {
        if total < offer.taken.max(offer.end) {
            return Err(format!(
                "input: only {total} bytes are accepted after {offer:?} was"
            ));
        }
        if total > self.sent {
            return Err(format!(
                "input: {total} bytes are accepted, but only {} were sent without a hole",
                self.sent
            ));
        }
        self.taken = self.taken.max(total);
        Ok(())
    }

    /// Checks an offer that was refused for a hole before it.
    ///
    /// # Errors
    /// If there cannot be a hole.
    pub(super) fn hole(&self, offer: Offer, total: Option<u64>) -> Result<(), String> {
        let possible = |total| offer.taken <= total && total < offer.offset && total <= self.sent;
        if total.is_some_and(possible) {
            return Ok(());
        }
        Err(format!(
            "input: {offer:?} was refused for a hole after {total:?}, but {} bytes were sent",
            self.sent
        ))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn input() -> Input {
        Input::new("one\ntwo \u{e9}t\u{e9}\nthree".into())
    }

    #[test]
    fn requests_are_parts_of_the_input_and_together_send_all_of_it() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut holes, mut overlaps) = (0, 0);
        for _ in 0..50 {
            let (mut input, mut taken) = (input(), 0);
            let text = Arc::clone(&input.text);
            while taken < text.len() as u64 {
                let (offer, data, eof) = input.next(&mut rng);
                let from = usize::try_from(offer.offset).expect("short");
                assert_eq!(text[from..][..data.len()], data);
                if offer.offset > taken {
                    holes += 1;
                    assert!(!eof);
                    assert_eq!(input.hole(offer, Some(taken)), Ok(()));
                    assert!(input.accepted(offer, offer.end).is_err());
                } else {
                    overlaps += u32::from(offer.offset < taken);
                    taken = taken.max(offer.end);
                    assert_eq!(input.accepted(offer, taken), Ok(()));
                    assert!(input.hole(offer, Some(taken)).is_err());
                }
            }
        }
        assert!(holes > 0 && overlaps > 0, "{holes} {overlaps}");
    }

    #[test]
    fn bytes_after_a_hole_count_once_the_hole_is_filled() {
        let mut input = input();
        let (late, _) = input.piece(12, 17);
        let (later, _) = input.piece(7, 12);
        assert!(input.accepted(late, late.end).is_err());
        let (first, _) = input.piece(0, 7);
        assert_eq!(input.accepted(late, late.end), Ok(()));
        // Their answers may come in any order.
        assert_eq!(input.accepted(later, later.end), Ok(()));
        assert_eq!(input.accepted(first, first.end), Ok(()));
    }

    #[test]
    fn an_impossible_total_is_an_error() {
        let mut input = input();
        let (whole, _) = input.all();
        assert!(input.accepted(whole, whole.end - 1).is_err());
        assert!(input.accepted(whole, whole.end + 1).is_err());
        assert_eq!(input.accepted(whole, whole.end), Ok(()));
        let mut rng = StdRng::seed_from_u64(1);
        let (later, _, _) = input.next(&mut rng);
        assert!(
            input.accepted(later, whole.end - 1).is_err(),
            "what was taken stays taken"
        );
    }
}
