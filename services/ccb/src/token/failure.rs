//! The failure of `ccb token`.

use crate::exit::{self, Exit};

/// The reason why no token was made, with the exit code and the message for the user.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Exit, pub(super) String);

impl Failure {
    /// Creates the failure of wrong arguments, or of a wrong token file.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self(exit::USAGE, message.into())
    }

    /// Creates the failure of an operation that the system refused.
    pub(super) fn system(message: impl Into<String>) -> Self {
        Self(exit::INTERNAL, message.into())
    }
}
