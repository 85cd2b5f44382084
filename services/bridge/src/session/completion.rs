//! The completions that a session's task waits for: results of executes and calls, which run in
//! separate tasks.

use protocol::ExecutionId;
use protocol::rpc::RpcError;

use super::machine::call::CallReply;
use super::machine::open_requests::Token;
use crate::budget::lists::ListTurn;
use crate::handover::departures::ViewRequest;
use crate::handover::executor::CompletedExecute;

/// The end of a task that a session has started. It is small, because tokio allocates a channel in
/// blocks of 32 items, and every idle session has one.
#[derive(Debug)]
pub enum Completion {
    /// An execute has its result: claude-api accepted or refused it.
    Executed(Token, Box<CompletedExecute>),
    /// A call has its result.
    Called(Token, Box<CompletedCall>),
    /// The task of a view panicked: the client has to attach again.
    ViewFailed,
}

/// A call to claude-api that has ended.
#[derive(Debug)]
pub struct CompletedCall {
    /// The reply, or the error for the client.
    pub result: Result<CallReply, RpcError>,
    /// Candidates of the call that have ended, or that claude-api does not know.
    pub ended: Vec<ExecutionId>,
    /// The turn that a list or a request for events holds in its session.
    pub turn: Option<ListTurn>,
    /// The request for the view that follows an attach.
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
