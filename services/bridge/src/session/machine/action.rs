//! The actions that the machine of a session decides on and the session's task performs.

use super::call::Call;
use super::open_requests::Token;
use crate::handover::Handover;
use crate::viewer::ViewStart;

/// One action. The task performs actions in their order.
#[derive(Debug)]
pub enum Action {
    /// Sends this text message.
    Send(String),
    /// Hands an execute to claude-api, after the earlier ones.
    Execute(Token, Handover),
    /// Stops the retries of an execute.
    StopRetrying(Token),
    /// Calls claude-api, without waiting for other calls.
    Call(Token, Call),
    /// Begins a view, with its number.
    View(u64, Box<ViewStart>),
    /// Ends a view and drops its messages that are not sent yet.
    Unview(u64),
}
