//! Estimates of what the API does not report. A client can cut its connection before the API has
//! reported the usage of a request, and the API charges for it nevertheless.

use super::facts::Facts;

/// The number of bytes of text that count as one token.
const TOKEN_BYTES: u64 = 4;

/// A request as far as it was forwarded to the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The number of bytes of the body that were forwarded.
    pub bytes: u64,
    /// The member `model` of the body. `None` if it has none, or more than one.
    pub model: Option<String>,
    /// Whether the body asks for fast mode.
    pub is_fast: bool,
}

impl Sent {
    /// Adds an estimate to the facts of an answer for each count that it does not report:
    ///
    /// - Without a count of the request's tokens, four bytes of the body count as one token.
    /// - Until the final count of the answer's tokens, four bytes of the deltas count as one token,
    ///   and each delta as one at least, if that is more than the last reported count.
    ///
    /// An answer that reports both is not changed.
    #[must_use]
    pub fn complete(&self, reported: Facts) -> Facts {
        let mut facts = reported;
        if !facts.has_input {
            facts.counts.input = facts.counts.input.max(tokens(self.bytes));
            facts.is_fast |= self.is_fast;
        }
        if !facts.is_final {
            let deltas = tokens(facts.delta_bytes).max(facts.deltas);
            facts.counts.output = facts.counts.output.max(deltas);
        }
        facts.model = facts.model.or_else(|| self.model.clone());
        facts
    }
}

/// Returns the number of tokens in a text, rounded up.
fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(TOKEN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::facts::Counts;

    fn sent() -> Sent {
        Sent {
            bytes: 41,
            model: Some("asked".to_owned()),
            is_fast: true,
        }
    }

    #[test]
    fn an_answer_without_usage_has_the_tokens_of_the_body() {
        let facts = sent().complete(Facts::default());
        assert_eq!((facts.counts.input, facts.counts.output), (11, 0));
        assert_eq!(facts.model.as_deref(), Some("asked"));
        assert!(facts.is_fast);
    }

    #[test]
    fn an_answer_that_broke_off_has_the_tokens_of_its_deltas() {
        let begun = |output, deltas, delta_bytes| Facts {
            counts: Counts {
                input: 5,
                output,
                ..Counts::default()
            },
            has_input: true,
            deltas,
            delta_bytes,
            ..Facts::default()
        };
        for (facts, expected) in [
            (begun(1, 2, 41), 11),
            (begun(1, 20, 41), 20),
            (begun(30, 20, 41), 30),
        ] {
            let counts = sent().complete(facts).counts;
            assert_eq!((counts.input, counts.output), (5, expected));
        }
    }

    #[test]
    fn an_answer_with_its_final_counts_is_not_changed() {
        let reported = Facts {
            model: Some("answered".to_owned()),
            counts: Counts {
                input: 1,
                output: 1,
                ..Counts::default()
            },
            has_input: true,
            is_final: true,
            deltas: 7,
            delta_bytes: 700,
            ..Facts::default()
        };
        assert_eq!(sent().complete(reported.clone()), reported);
    }
}
