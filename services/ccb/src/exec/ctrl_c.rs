//! Ctrl-C: `exec` cancels at the first one and exits at the second; `attach` exits at the first.

use std::sync::Arc;

use client::{Client, Control, Error};
use protocol::{ExecutionId, Status};
use tokio::task::JoinHandle;

use crate::progress::Progress;

/// The progress of the cancel that the first Ctrl-C requests.
pub(super) enum CancelRequest {
    /// Ctrl-C was not pressed.
    Nothing,
    /// The cancel was sent, and the bridge has not answered yet.
    Cancel(JoinHandle<Result<Status, Error>>),
    /// The bridge has answered the cancel; the terminal status has not arrived yet.
    Answered,
}

/// Handles Ctrl-C or SIGTERM, and returns whether ccb must exit immediately.
///
/// `owns` is true for `exec`: the first signal cancels the execution, the second exits. It is false
/// for `attach`, which exits at the first one and leaves the execution alone.
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

/// Sends the cancel from another task, so that the stream continues to read output.
fn cancel(client: &Arc<Client>, id: ExecutionId) -> JoinHandle<Result<Status, Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.control(id, Control::Cancel).await })
}

/// Waits for the bridge's answer to the cancel. Waits forever if no cancel is under way.
pub(super) async fn cancelled(request: &mut CancelRequest) -> Result<Status, Error> {
    match request {
        CancelRequest::Cancel(task) => task.await.unwrap_or(Err(Error::Closed)),
        CancelRequest::Nothing | CancelRequest::Answered => std::future::pending().await,
    }
}
