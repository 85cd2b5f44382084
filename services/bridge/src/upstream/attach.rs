//! The status with which a view begins, after a check of the offset that the client asks for.

use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Status};

use super::Upstream;

impl Upstream {
    /// Returns the status with which a view from `offset` begins. An offset is in bytes of output;
    /// None means all that is kept.
    ///
    /// # Errors
    /// -32007 when the output at `offset` is gone, -32602 `offset_beyond_end` when it does not
    /// exist yet, or as [`Self::status`].
    pub async fn attach(&self, id: ExecutionId, offset: Option<u64>) -> Result<Status, RpcError> {
        let status = self.status(id).await?;
        if let Some(offset) = offset {
            if offset < status.kept_from {
                return Err(offset_not_kept(status.kept_from));
            }
            // The status may be a moment older than bytes that the client has.
            if offset > status.output_bytes {
                self.probe_offset(id, offset).await?;
            }
        }
        Ok(status)
    }

    /// Checks that `offset` lies within the output: asks for the stream and drops it.
    ///
    /// # Errors
    /// -32602 `offset_beyond_end`, -32007, or as [`Self::status`].
    async fn probe_offset(&self, id: ExecutionId, offset: u64) -> Result<(), RpcError> {
        let url = self.execution_url(id, &format!("/output?offset={offset}"));
        self.open_and_drop(&url).await
    }
}

fn offset_not_kept(kept_from: u64) -> RpcError {
    RpcError::new(
        code::OFFSET_NOT_KEPT,
        "offset_not_kept",
        format!("the output before {kept_from} is gone; attach from there, or without an offset"),
    )
    .with("keptFrom", kept_from)
}
