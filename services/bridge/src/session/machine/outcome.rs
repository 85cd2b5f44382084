//! The outcomes of requests. An outcome is known before it takes effect, because an earlier request
//! about the same view may have to take effect first.

use protocol::rpc::RpcError;
use protocol::{ExecutionId, Status};

use super::call::CallReply;

/// The outcome of one request, from which the machine makes the answer to the client. Some outcomes
/// also begin or end a view.
#[derive(Debug)]
pub(super) enum Outcome {
    /// claude-api accepted an execute and returned its status, or the execute failed with this
    /// error.
    Executed(Box<Result<Status, RpcError>>),
    /// claude-api replied to the call of a request, or the call failed with this error.
    Called(Result<CallReply, RpcError>),
    /// A detach of this execution can take effect. It needs no call, so it cannot fail.
    Detached(ExecutionId),
}
