//! The dialogue of an execution that asks: its text depends on the answers of people, so that no
//! plan knows it beforehand. Pure.
//!
//! The stand-in says the outcome of each question as a line: `allowed INPUT` or `denied MESSAGE`
//! (`tests/src/stand_in/ask.rs`). So the text is a fixed sequence of parts, with the outcome of
//! each question in between. [`Dialogue::fit`] compares a text with all outcomes that are possible.

mod ask;

pub(super) use ask::{Ask, Outcome, Patience};

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text that continues the block, or begins one.
    Text(String),
    /// The next text begins a block.
    NewBlock,
    /// The outcome of the question with this number.
    Ask(usize),
    /// The next part belongs to another turn.
    NextTurn,
}

/// The text of an execution that asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Dialogue {
    pub(super) parts: Vec<Part>,
    pub(super) asks: Vec<Ask>,
    /// Whether the input of its clients interrupts a turn that asks.
    pub(super) has_interrupt: bool,
    /// `questionTimeoutSeconds` of the body.
    pub(super) timeout: Option<f64>,
}

/// How a text fits a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fit {
    /// Whether the text is a beginning of the dialogue.
    pub(super) is_prefix: bool,
    /// Whether the text is the whole dialogue, and the last turn ran to its end.
    pub(super) is_complete: bool,
    /// Whether the text is the whole dialogue, and an answer or an interrupt ended the last turn.
    pub(super) is_cut_short: bool,
}

impl Dialogue {
    /// Returns whether a question can time out before the end of a run.
    pub(super) fn has_timeout(&self) -> bool {
        self.timeout.is_some_and(|seconds| seconds > 0.0)
    }

    /// Compares a text with the dialogue. `outcomes` are the possible ones of each question.
    /// `separated`: the text has a blank line between blocks.
    pub(super) fn fit(&self, text: &[u8], separated: bool, outcomes: &[Vec<Outcome>]) -> Fit {
        let mut walk = Walk {
            parts: &self.parts,
            outcomes,
            separated,
            fit: Fit::default(),
        };
        let place = Place {
            rest: text,
            shown: false,
            open: false,
            cut: false,
        };
        walk.follow(0, place);
        walk.fit
    }
}

/// A place in a text and in the dialogue.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    /// The text from here on.
    rest: &'a [u8],
    /// Whether there is text before.
    shown: bool,
    /// Whether the next text continues a block.
    open: bool,
    /// Whether the present turn was ended early.
    cut: bool,
}

/// A comparison in progress.
struct Walk<'a> {
    parts: &'a [Part],
    outcomes: &'a [Vec<Outcome>],
    separated: bool,
    fit: Fit,
}

impl<'a> Walk<'a> {
    /// Follows the dialogue from a part on, along every possible outcome.
    fn follow(&mut self, from: usize, mut place: Place<'a>) {
        let parts = self.parts;
        for (at, part) in parts.iter().enumerate().skip(from) {
            self.fit.is_prefix |= place.rest.is_empty();
            match part {
                Part::NewBlock => place.open = false,
                Part::NextTurn => (place.open, place.cut) = (false, false),
                Part::Text(text) => match self.say(place, text) {
                    Some(next) => place = next,
                    None => return,
                },
                Part::Ask(number) => {
                    place.open = false;
                    let outcomes = self.outcomes;
                    for outcome in outcomes.get(*number).into_iter().flatten() {
                        self.branch(at + 1, place, outcome);
                    }
                    return;
                }
            }
        }
        if place.rest.is_empty() {
            self.fit.is_prefix = true;
            self.fit.is_complete |= !place.cut;
            self.fit.is_cut_short |= place.cut;
        }
    }

    /// Follows the dialogue after one outcome of a question.
    fn branch(&mut self, next: usize, place: Place<'a>, outcome: &Outcome) {
        match outcome {
            Outcome::Says(line) => {
                if let Some(place) = self.say(place, &format!("{line}\n")) {
                    self.follow(next, place);
                }
            }
            Outcome::SaysLike(begin) => {
                let Some(place) = self.say(place, begin) else {
                    return;
                };
                match place.rest.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        let rest = &place.rest[end + 1..];
                        self.follow(next, Place { rest, ..place });
                    }
                    None => self.fit.is_prefix = true,
                }
            }
            Outcome::EndsTurn => {
                let mut others = self.parts.iter().enumerate().skip(next);
                let turn = others.find(|(_, part)| **part == Part::NextTurn);
                let next = turn.map_or(self.parts.len(), |(at, _)| at);
                self.follow(next, Place { cut: true, ..place });
            }
        }
    }

    /// Returns the place after a text; `None` if it is not there.
    fn say(&mut self, place: Place<'a>, text: &str) -> Option<Place<'a>> {
        let is_separated = self.separated && place.shown && !place.open;
        let separator = if is_separated { "\n\n" } else { "" };
        let mut rest = place.rest;
        for due in [separator.as_bytes(), text.as_bytes()] {
            if rest.len() < due.len() {
                self.fit.is_prefix |= due.starts_with(rest);
                return None;
            }
            rest = rest.strip_prefix(due)?;
        }
        Some(Place {
            rest,
            shown: true,
            open: true,
            ..place
        })
    }
}

#[cfg(test)]
mod tests;
