//! The errors of a body.

use crate::ProblemType;

/// A mistake in a body, with a message for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, a wrong type, or an unknown field.
    #[error("the body is invalid: {0}")]
    Malformed(String),
    /// A wrong value of a field.
    #[error("{field}: {mistake}")]
    Field {
        /// The field.
        field: &'static str,
        /// The mistake, and the rule for the value.
        mistake: String,
    },
    /// A text that is too long.
    #[error("{field} has {bytes} bytes; the maximum is {limit}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit in force.
        limit: u64,
    },
    /// A value that no client may use.
    #[error("{field}: {mistake}")]
    NotAllowed {
        /// The field.
        field: &'static str,
        /// What is not allowed.
        mistake: String,
    },
}

impl BodyError {
    /// Returns the problem type of this error.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        match self {
            Self::Malformed(_) | Self::Field { .. } => ProblemType::InvalidBody,
            Self::TooLarge { .. } => ProblemType::TooLarge,
            Self::NotAllowed { .. } => ProblemType::NotAllowed,
        }
    }
}
