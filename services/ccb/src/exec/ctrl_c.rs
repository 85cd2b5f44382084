//! The handling of Ctrl-C (SIGINT) and SIGTERM. In `ccb exec` the first one cancels the execution
//! and the second one exits. `ccb attach` exits at the first one.

use std::sync::Arc;

use client::{Client, Control, Error};
use protocol::{ExecutionId, Status};
use tokio::task::JoinHandle;

use crate::progress::Progress;

/// The progress of cancelling the execution after the first Ctrl-C.
pub(super) enum CancelRequest {
    /// Ctrl-C was not pressed, so no cancel was sent.
    Nothing,
    /// The cancel was sent, and the task waits for the bridge's answer.
    Cancel(JoinHandle<Result<Status, Error>>),
    /// The bridge has answered the cancel. The terminal status of the execution may still follow.
    Answered,
}

/// Handles Ctrl-C (SIGINT) or SIGTERM. Returns true if `ccb` must exit immediately, and false if it
/// continues to stream until the execution has ended.
///
/// `owns` is true for `exec`, where the first signal cancels the execution and the second one
/// exits. It is false for `attach`, which exits at the first signal and leaves the execution alone.
pub(super) fn interrupted(
    client: &Arc<Client>,
    id: ExecutionId,
    owns: bool,
    progress: &mut Progress,
    request: &mut CancelRequest,
) -> bool {
    if !owns {
        progress.note(&format!(
            "detached; the execution continues (end it with: ccb cancel {id})"
        ));
        return true;
    }
    if !matches!(request, CancelRequest::Nothing) {
        return true;
    }
    progress.note("cancelling; press Ctrl-C again to exit now");
    *request = CancelRequest::Cancel(cancel(client, id));
    false
}

/// Sends a cancel of the execution to the bridge from a task of its own, so that output is still
/// read meanwhile. The result of the task is the bridge's answer.
fn cancel(client: &Arc<Client>, id: ExecutionId) -> JoinHandle<Result<Status, Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.control(id, Control::Cancel).await })
}

/// Waits for the bridge's answer to the cancel. Waits forever if no cancel was sent, or if its
/// answer has arrived.
pub(super) async fn cancelled(request: &mut CancelRequest) -> Result<Status, Error> {
    match request {
        CancelRequest::Cancel(task) => task.await.unwrap_or(Err(Error::Closed)),
        CancelRequest::Nothing | CancelRequest::Answered => std::future::pending().await,
    }
}
