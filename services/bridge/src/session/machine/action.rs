//! The actions that the machine of a session decides on and the session's task performs.

use super::call::Call;
use super::open_requests::Token;
use crate::handover::Handover;
use crate::viewer::ViewStart;

/// An instruction of the machine to the session's task, which does the I/O. The task performs
/// actions in the order given, because a view must begin after its answer.
#[derive(Debug)]
pub enum Action {
    /// Sends this JSON text to the client as one WebSocket text message.
    Send(String),
    /// Hands an execute to the executor, which sends it to claude-api after the earlier executes of
    /// the session. The token names the request.
    Execute(Token, Handover),
    /// Stops the retries of the execute with this token, because the client cancels its execution
    /// before claude-api has accepted it.
    StopRetrying(Token),
    /// Makes a call to claude-api in a separate task, for the request with this token.
    Call(Token, Call),
    /// Begins a view with this number, which streams the statuses and the output of an execution to
    /// the client.
    View(u64, Box<ViewStart>),
    /// Stops the view with this number, and discards its messages that are not sent yet. The
    /// execution itself continues.
    Unview(u64),
}
