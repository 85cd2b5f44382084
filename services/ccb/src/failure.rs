//! The failure of a command that needs no bridge: `ccb token` and `ccb webhook`.

use crate::exit::{self, Exit};

/// The reason why the command failed, with the exit code and the message for the user.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Exit, pub(crate) String);

impl Failure {
    /// Creates the failure of wrong arguments, or of a wrong file.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self(exit::USAGE, message.into())
    }

    /// Creates the failure of an operation that the system refused.
    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self(exit::INTERNAL, message.into())
    }
}
