//! The token or share that a secret stands for.

use protocol::{ExecutionId, SecretHash};

/// The token or share that a secret stands for. The service looks it up again for each request,
/// because it may have ended meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// A token of the operator's file.
    Token(SecretHash),
    /// A share of one execution.
    Share(ExecutionId, SecretHash),
}
