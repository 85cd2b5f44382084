//! The errors of an execution's body, with messages for the client that sent it.

use crate::ProblemType;

/// The reason why claude-api refuses the body of an execution. Its message tells the client what to
/// correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The text is not valid JSON, a field is unknown, missing or of a wrong type, or a member is
    /// given twice.
    #[error("the body is invalid: {0}")]
    Malformed(String),
    /// A field has a value that docs/protocol.md, "Body", does not allow.
    #[error("{field}: {mistake}")]
    Field {
        /// The field's name in JSON.
        field: &'static str,
        /// The mistake and the rule that the value breaks, as a part of the message for the client.
        mistake: String,
    },
    /// The prompt or a system prompt is longer than its limit.
    #[error("{field} has {bytes} bytes; the maximum is {limit}")]
    TooLarge {
        /// The field's name in JSON.
        field: &'static str,
        /// The length of the text, in bytes.
        bytes: usize,
        /// The maximum length, in bytes.
        limit: u64,
    },
    /// A field has a valid value that clients may not use, such as an environment variable that
    /// could redirect the CLI.
    #[error("{field}: {mistake}")]
    NotAllowed {
        /// The field's name in JSON.
        field: &'static str,
        /// What is not allowed, as a part of the message for the client.
        mistake: String,
    },
}

impl BodyError {
    /// Returns the HTTP problem type of this error, which also decides the HTTP status:
    /// `invalid-body` (400 Bad Request), `too-large` (413 Content Too Large) or `not-allowed` (403
    /// Forbidden).
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        match self {
            Self::Malformed(_) | Self::Field { .. } => ProblemType::InvalidBody,
            Self::TooLarge { .. } => ProblemType::TooLarge,
            Self::NotAllowed { .. } => ProblemType::NotAllowed,
        }
    }
}
