//! The judgement of a credential by claude-api.

use protocol::{Me, ProblemType};

use crate::upstream::errors::Failure;

/// The judgement of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// claude-api accepts the credential, and describes its holder.
    Granted(Box<Me>),
    /// claude-api does not accept the credential: it is unknown, expired or removed.
    Refused,
    /// claude-api did not answer in time, or cannot judge now. The client may try again.
    NoAnswer,
}

impl Judgement {
    /// Reads the judgement in an answer of claude-api. A refusal because of too many wrong tokens
    /// counts as a refusal of this one: claude-api never refuses a right token for that reason.
    pub(crate) fn of(answer: Result<Me, Failure>) -> Self {
        match answer {
            Ok(me) => Self::Granted(Box::new(me)),
            Err(failure) => {
                let kinds = [ProblemType::Unauthorized, ProblemType::TooManyAttempts];
                let is_refused = kinds.iter().any(|kind| failure.problem(*kind).is_some());
                if is_refused {
                    return Self::Refused;
                }
                tracing::debug!(
                    error = failure.logged(),
                    "claude-api did not judge a credential"
                );
                Self::NoAnswer
            }
        }
    }
}
