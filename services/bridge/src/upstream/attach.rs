//! Reads the status with which a client's view of an execution begins, and checks the output offset
//! that the client requested.

use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Status};

use super::Upstream;

impl Upstream {
    /// Returns the status with which a view of an execution begins. Checks first that claude-api
    /// can send the output from `offset` (in bytes) on. Without an offset the view begins at the
    /// oldest byte that claude-api has.
    ///
    /// # Errors
    /// Returns -32007 (`OFFSET_NOT_KEPT`) if claude-api has deleted the output at `offset`, -32602
    /// (`INVALID_PARAMS`, reason `offset_beyond_end`) if that output does not exist yet, or an
    /// error as [`Self::status`] does.
    pub async fn attach(&self, id: ExecutionId, offset: Option<u64>) -> Result<Status, RpcError> {
        let status = self.status(id).await?;
        if let Some(offset) = offset {
            if offset < status.kept_from {
                return Err(offset_not_kept(status.kept_from));
            }
            // The status may be slightly older than the client's last bytes.
            if offset > status.output_bytes {
                self.probe_offset(id, offset).await?;
            }
        }
        Ok(status)
    }

    /// Checks that the output reaches at least to `offset`, by opening a stream of the output there
    /// and closing it.
    ///
    /// # Errors
    /// Returns -32602 (`INVALID_PARAMS`, reason `offset_beyond_end`) if the output is shorter,
    /// -32007 (`OFFSET_NOT_KEPT`) if claude-api has deleted it, or an error as [`Self::status`]
    /// does.
    async fn probe_offset(&self, id: ExecutionId, offset: u64) -> Result<(), RpcError> {
        let url = self.execution_url(id, &format!("/output?offset={offset}"));
        self.open_and_drop(&url).await
    }
}

/// Returns the JSON-RPC error for an offset before the oldest byte that claude-api has, `kept_from`
/// (code -32007, `OFFSET_NOT_KEPT`).
fn offset_not_kept(kept_from: u64) -> RpcError {
    RpcError::new(
        code::OFFSET_NOT_KEPT,
        "offset_not_kept",
        format!("the output before {kept_from} is gone; attach from there, or without an offset"),
    )
    .with("keptFrom", kept_from)
}
