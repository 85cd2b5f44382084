//! The parts of a limit that shares may use.

/// The most uses of a limited resource by shares, which come on top of those of their principal. So
/// shares never take the room of their principal, and one share never takes that of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareParts {
    /// The most uses of all shares of one principal together: half of the principal's limit, and at
    /// least 1.
    pub together: usize,
    /// The most uses of one share: a quarter of `together`, and at least 1.
    pub each: usize,
}

impl ShareParts {
    /// Returns the parts of the shares of a principal that itself has `limit` uses.
    #[must_use]
    pub fn of(limit: usize) -> Self {
        let together = (limit / 2).max(1);
        let each = (together / 4).max(1);
        Self { together, each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_half_and_one_share_a_quarter_of_it() {
        let parts = |limit| {
            let ShareParts { together, each } = ShareParts::of(limit);
            (together, each)
        };
        assert_eq!(parts(250), (125, 31));
        assert_eq!(parts(256), (128, 32));
        assert_eq!((parts(1), parts(0)), ((1, 1), (1, 1)));
    }
}
