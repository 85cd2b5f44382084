//! The commands that a [`Client`](crate::Client) and its runs send to the background task that owns
//! the WebSocket connection.

use protocol::ExecutionId;
use protocol::message::Request;
use tokio::sync::oneshot;

use crate::machine::{AnswerSender, View};

/// A command from a [`Client`](crate::Client) or a [`Run`](crate::Run) to the background task that
/// owns the WebSocket connection.
pub(crate) enum Command {
    /// Sends an `execute` or `attach` request, and delivers the messages about this execution to
    /// the run of this view. A view is the state that the client keeps for one run.
    Open(ExecutionId, View, Request),
    /// Sends any other request, and delivers its result or error to the caller that waits for it.
    Request(Request, AnswerSender),
    /// Stops the messages about this execution, because the run with this token was dropped.
    Forget(ExecutionId, u64),
    /// Sends the queued requests, closes the connection, and then notifies the sender. The task
    /// ends.
    Close(oneshot::Sender<()>),
}
