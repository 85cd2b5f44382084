//! The commands from the handles of a client to its task.

use protocol::ExecutionId;
use protocol::message::Request;
use tokio::sync::oneshot;

use crate::machine::{AnswerSender, View};

/// A command from a [`Client`](crate::Client) or a [`Run`](crate::Run) to the task that owns the
/// connection.
pub(crate) enum Command {
    /// Begins a view with an execute or an attach.
    Open(ExecutionId, View, Request),
    /// Sends a request whose answer goes to the sender.
    Request(Request, AnswerSender),
    /// Ends the view with this token: its run was dropped.
    Forget(ExecutionId, u64),
    /// Sends the queued requests, closes the connection, and then notifies the sender.
    Close(oneshot::Sender<()>),
}
