//! The errors of a body, with messages for the client that sent it.

use crate::ProblemType;

/// A reason to refuse the body of an execution. Its message tells the client what to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The text is not JSON, a field has a wrong type, or a field is unknown.
    #[error("the body is invalid: {0}")]
    Malformed(String),
    /// A field has a value that docs/protocol.md, "Body", does not allow.
    #[error("{field}: {mistake}")]
    Field {
        /// The field's name in JSON.
        field: &'static str,
        /// The mistake, and the rule for the value.
        mistake: String,
    },
    /// The prompt or a system prompt is too long.
    #[error("{field} has {bytes} bytes; the maximum is {limit}")]
    TooLarge {
        /// The field's name in JSON.
        field: &'static str,
        /// The length of the text, in bytes.
        bytes: usize,
        /// The maximum length, in bytes.
        limit: u64,
    },
    /// A value that is valid, but that no client may use.
    #[error("{field}: {mistake}")]
    NotAllowed {
        /// The field's name in JSON.
        field: &'static str,
        /// What is not allowed, as a part of the message for the client.
        mistake: String,
    },
}

impl BodyError {
    /// Returns the problem type, and thereby the HTTP status, with which claude-api answers this
    /// error.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        match self {
            Self::Malformed(_) | Self::Field { .. } => ProblemType::InvalidBody,
            Self::TooLarge { .. } => ProblemType::TooLarge,
            Self::NotAllowed { .. } => ProblemType::NotAllowed,
        }
    }
}
