//! The outcomes of requests, before the machine applies them.

use protocol::rpc::RpcError;
use protocol::{ExecutionId, Status};

use super::call::CallReply;

/// The outcome of one request. It becomes the answer to the client.
#[derive(Debug)]
pub(super) enum Outcome {
    /// claude-api accepted or refused an execute.
    Executed(Box<Result<Status, RpcError>>),
    /// claude-api replied to a call, or the call failed.
    Called(Result<CallReply, RpcError>),
    /// A detach took its turn; it needs no call.
    Detached(ExecutionId),
}
