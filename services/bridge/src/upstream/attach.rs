//! Reads the status with which a view of an execution begins, and checks the offset that the client
//! requested.

use protocol::rpc::{RpcError, code};
use protocol::{ExecutionId, Status};

use super::Upstream;

impl Upstream {
    /// Returns the status with which a view of an execution begins, after a check that its output
    /// can be sent from `offset` (in bytes). Without an offset the view begins at the oldest byte
    /// that claude-api has.
    ///
    /// # Errors
    /// -32007 if claude-api no longer has the output at `offset`, -32602 `offset_beyond_end` if it
    /// does not exist yet, or as [`Self::status`].
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

    /// Checks that `offset` lies within the output, by opening a stream from it and dropping the
    /// stream.
    ///
    /// # Errors
    /// -32602 `offset_beyond_end`, -32007 if the output at `offset` is gone, or as
    /// [`Self::status`].
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
