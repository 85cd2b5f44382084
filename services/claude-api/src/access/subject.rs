//! What a secret stands for.

use protocol::{ExecutionId, SecretHash};

/// The thing that a secret stands for. It must still exist when a request uses the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// A token of the operator's file.
    Token(SecretHash),
    /// A share of one execution.
    Share(ExecutionId, SecretHash),
}
