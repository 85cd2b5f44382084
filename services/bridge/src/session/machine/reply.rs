//! The replies to requests, before the machine applies them.

use protocol::rpc::RpcError;
use protocol::{ExecutionId, Status};

use super::call::CallReply;

/// The reply to one request. All but the last come from claude-api.
#[derive(Debug)]
pub(super) enum Reply {
    /// claude-api accepted an execute, or did not.
    Executed(Box<Result<Status, RpcError>>),
    /// A call was answered.
    Called(Result<CallReply, RpcError>),
    /// A detach needs no call.
    Detached(ExecutionId),
}
