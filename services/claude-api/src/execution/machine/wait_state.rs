//! For whom or what a running CLI waits, as a plain value.

use std::time::Duration;

/// For whom or what the CLI waits.
#[derive(Debug, Default)]
pub(super) struct WaitState {
    /// Whether a question waits for a person.
    pub(super) person: bool,
    /// Whether a request of the CLI waits for the client.
    pub(super) client: bool,
    /// The tool of a permission prompt that waits for the client. `None` if no prompt does.
    pub(super) client_tool: Option<String>,
    /// The running time at which the CLI began to wait for a message. `None` during a turn.
    pub(super) input_since: Option<Duration>,
}

impl WaitState {
    /// Returns whether the CLI waits for a person, for the client, or for a message.
    pub(super) fn is_any(&self) -> bool {
        self.person || self.client || self.input_since.is_some()
    }
}
