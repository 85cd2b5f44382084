//! Ctrl-C: `exec` cancels at the first one and leaves at the second; `attach` leaves.

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
    /// The cancel was answered; the terminal status follows.
    Answered,
}

/// Ctrl-C or SIGTERM. True: leave at once.
pub(super) fn interrupted(
    client: &Arc<Client>,
    id: ExecutionId,
    owns: bool,
    progress: &mut Progress,
    request: &mut CancelRequest,
) -> bool {
    if !owns {
        progress.note(&format!("left; it goes on (end it with: ccb cancel {id})"));
        return true;
    }
    if !matches!(request, CancelRequest::Nothing) {
        return true;
    }
    progress.note("cancelling; once more leaves at once");
    *request = CancelRequest::Cancel(cancel(client, id));
    false
}

/// Cancels beside the stream: the answer comes while output is still read.
fn cancel(client: &Arc<Client>, id: ExecutionId) -> JoinHandle<Result<Status, Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.control(id, Control::Cancel).await })
}

/// The answer of the cancel, if one is under way.
pub(super) async fn cancelled(request: &mut CancelRequest) -> Result<Status, Error> {
    match request {
        CancelRequest::Cancel(task) => task.await.unwrap_or(Err(Error::Closed)),
        CancelRequest::Nothing | CancelRequest::Answered => std::future::pending().await,
    }
}
