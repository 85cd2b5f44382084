//! The results of the tasks that a session has started: executes, calls to claude-api, and views.

use protocol::rpc::RpcError;
use protocol::{ExecutionId, TraceContext};

use super::machine::call::CallReply;
use super::machine::open_requests::Token;
use crate::budget::lists::ListTurn;
use crate::handover::departures::ViewRequest;
use crate::handover::executor::CompletedExecute;

/// The result of a background task, sent to the session that started it. The variants are boxed to
/// stay small. tokio allocates a channel in blocks of 32 items, and every idle session has such a
/// channel.
#[derive(Debug)]
pub enum Completion {
    /// The execute request with this token has its result. claude-api accepted or refused it, or
    /// could not be reached in time.
    Executed(Token, Box<CompletedExecute>),
    /// The call to claude-api for the request with this token has ended, with a reply or an error.
    Called(Token, Box<CompletedCall>),
    /// The task of a view panicked, so the view would stop without a word. The session closes with
    /// 1011 (internal error), and the client has to attach again.
    ViewFailed,
}

/// The result of one call to claude-api, with what the session must update because of it.
#[derive(Debug)]
pub struct CompletedCall {
    /// The reply of claude-api, or the JSON-RPC error for the client.
    pub result: Result<CallReply, RpcError>,
    /// Executions that turned out to have ended, or that claude-api does not know. The session
    /// removes them from its live executions. Usually empty.
    pub ended: Vec<ExecutionId>,
    /// The permit of a list or an events request. A session has one permit, so its next such
    /// request waits until this value is dropped. `None` for other calls and when the permit or the
    /// memory was not available.
    pub turn: Option<ListTurn>,
    /// The viewer registration of an attach request. Until the view begins, it keeps the execution
    /// from being cancelled for lack of a viewer. `None` for other calls.
    pub view_request: Option<ViewRequest>,
    /// The span of the call, to which the streams of a view belong. `None` without a trace.
    pub trace: Option<TraceContext>,
}

impl From<Result<CallReply, RpcError>> for CompletedCall {
    fn from(result: Result<CallReply, RpcError>) -> Self {
        Self {
            result,
            ended: Vec::new(),
            turn: None,
            view_request: None,
            trace: None,
        }
    }
}
