//! The actions that the machine of a session decides on and the session's task performs.

use super::call::Call;
use super::open_requests::Token;
use crate::handover::Handover;
use crate::viewer::Start;

/// One action. The task performs actions in their order.
#[derive(Debug)]
pub enum Action {
    /// Sends this text message.
    Send(String),
    /// Hands an execute to claude-api, behind earlier ones.
    Execute(Token, Handover),
    /// Ends the retrying of an execute.
    StopRetrying(Token),
    /// Calls claude-api, at once.
    Call(Token, Call),
    /// Begins a view, with its number.
    View(u64, Box<Start>),
    /// Ends a view; its messages under way are dropped.
    Unview(u64),
}
