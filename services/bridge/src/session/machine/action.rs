//! The actions that the machine of a session decides on and the session's task performs.

use super::call::Call;
use super::open_requests::Token;
use crate::handover::Handover;
use crate::viewer::ViewStart;

/// An action that the machine has decided on. The session's task performs actions in order.
#[derive(Debug)]
pub enum Action {
    /// Sends this JSON text to the client.
    Send(String),
    /// Hands an execute to claude-api, after the earlier executes of the session.
    Execute(Token, Handover),
    /// Stops the retries of an execute that the client cancels.
    StopRetrying(Token),
    /// Makes a call to claude-api in a separate task.
    Call(Token, Call),
    /// Begins a view with this number: streams the statuses and the output of an execution to the
    /// client.
    View(u64, Box<ViewStart>),
    /// Ends the view with this number, and drops its messages that are not sent yet.
    Unview(u64),
}
