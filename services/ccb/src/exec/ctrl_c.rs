//! Ctrl-C: `exec` cancels at the first one and exits at the second; `attach` exits at the first.

use std::sync::Arc;

use client::{Client, Control, Error};
use protocol::{ExecutionId, Status};
use tokio::task::JoinHandle;

use crate::progress::Progress;

/// The cancel that Ctrl-C requests.
pub(super) enum CancelRequest {
    /// Ctrl-C was not pressed.
    Nothing,
    /// A cancel is under way.
    Cancel(JoinHandle<Result<Status, Error>>),
    /// The cancel was answered; the terminal status is still to come.
    Answered,
}

/// Handles Ctrl-C or SIGTERM. Returns true if ccb exits immediately.
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

/// Cancels in a task of its own, while the stream continues to read output.
fn cancel(client: &Arc<Client>, id: ExecutionId) -> JoinHandle<Result<Status, Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.control(id, Control::Cancel).await })
}

/// Waits for the answer to the cancel; forever if none is under way.
pub(super) async fn cancelled(request: &mut CancelRequest) -> Result<Status, Error> {
    match request {
        CancelRequest::Cancel(task) => task.await.unwrap_or(Err(Error::Closed)),
        CancelRequest::Nothing | CancelRequest::Answered => std::future::pending().await,
    }
}
