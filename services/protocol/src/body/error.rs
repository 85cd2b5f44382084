//! What can be wrong with a body.

use crate::ProblemType;

/// What is wrong with a body, for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, a wrong type, an unknown field.
    #[error("the body is not as the contract describes: {0}")]
    Malformed(String),
    /// A field's value is wrong.
    #[error("{field}: {what}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A text is too long.
    #[error("{field} has {bytes} bytes; at most {limit} are taken")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit in force.
        limit: u64,
    },
    /// More than anybody may ask for.
    #[error("{field}: {what}")]
    NotAllowed {
        /// The field.
        field: &'static str,
        /// What is not allowed.
        what: String,
    },
}

impl BodyError {
    /// The problem type that goes with it.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        match self {
            Self::Malformed(_) | Self::Field { .. } => ProblemType::InvalidBody,
            Self::TooLarge { .. } => ProblemType::TooLarge,
            Self::NotAllowed { .. } => ProblemType::NotAllowed,
        }
    }
}
