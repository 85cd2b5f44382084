//! The commands that a client and its runs send to the client's background task.

use protocol::ExecutionId;
use protocol::message::Request;
use tokio::sync::oneshot;

use crate::machine::{AnswerSender, View};

/// A command from a [`Client`](crate::Client) or a [`Run`](crate::Run) to the task that owns the
/// connection.
pub(crate) enum Command {
    /// Sends an execute or attach, whose view (the messages about this execution) goes to a run.
    Open(ExecutionId, View, Request),
    /// Sends a request. Its answer goes to the sender, for the caller that waits.
    Request(Request, AnswerSender),
    /// Ends the view with this token, because its run was dropped.
    Forget(ExecutionId, u64),
    /// Sends the queued requests, closes the connection, and then notifies the sender.
    Close(oneshot::Sender<()>),
}
