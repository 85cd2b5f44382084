//! The outcomes of requests, before they take effect in the machine.

use protocol::rpc::RpcError;
use protocol::{ExecutionId, Status};

use super::call::CallReply;

/// The outcome of one request, from which the machine makes the answer to the client.
#[derive(Debug)]
pub(super) enum Outcome {
    /// claude-api accepted or refused an execute.
    Executed(Box<Result<Status, RpcError>>),
    /// claude-api replied to the call of a request, or the call failed.
    Called(Result<CallReply, RpcError>),
    /// It is the turn of a detach, which needs no call.
    Detached(ExecutionId),
}
