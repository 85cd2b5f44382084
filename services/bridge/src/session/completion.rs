//! The results of the tasks that a session has started: executes, calls to claude-api, and views.

use protocol::ExecutionId;
use protocol::rpc::RpcError;

use super::machine::call::CallReply;
use super::machine::open_requests::Token;
use crate::budget::lists::ListTurn;
use crate::handover::departures::ViewRequest;
use crate::handover::executor::CompletedExecute;

/// The result of a task, as a message to the session that started it. It is small, because tokio
/// allocates a channel in blocks of 32 items, and every idle session has one.
#[derive(Debug)]
pub enum Completion {
    /// The execute with this token has its result: claude-api accepted or refused it.
    Executed(Token, Box<CompletedExecute>),
    /// The call for the request with this token has its result.
    Called(Token, Box<CompletedCall>),
    /// The task of a view panicked. The session closes, and the client has to attach again.
    ViewFailed,
}

/// The result of a call to claude-api that a request needed.
#[derive(Debug)]
pub struct CompletedCall {
    /// The reply, or the error for the client.
    pub result: Result<CallReply, RpcError>,
    /// Executions that the call found to have ended, or that claude-api does not have. The session
    /// forgets them.
    pub ended: Vec<ExecutionId>,
    /// The permit of a list or a request for events, which keeps the session's next list waiting.
    pub turn: Option<ListTurn>,
    /// For an attach: the request for the view that follows. Until the view begins, it keeps the
    /// execution from being cancelled for lack of a viewer.
    pub view_request: Option<ViewRequest>,
}

impl From<Result<CallReply, RpcError>> for CompletedCall {
    fn from(result: Result<CallReply, RpcError>) -> Self {
        Self {
            result,
            ended: Vec::new(),
            turn: None,
            view_request: None,
        }
    }
}
