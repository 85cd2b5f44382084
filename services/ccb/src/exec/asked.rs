//! What Ctrl-C asks for: `exec` cancels once, then leaves; `attach` leaves.

use std::sync::Arc;

use client::{Client, Control, Error};
use protocol::{ExecutionId, Status};
use tokio::task::JoinHandle;

use crate::progress::Progress;

/// What Ctrl-C did so far.
pub(super) enum Asked {
    Nothing,
    /// A cancel is under way.
    Cancel(JoinHandle<Result<Status, Error>>),
    /// It was answered; the terminal status follows.
    Answered,
}

/// Ctrl-C or SIGTERM. True: leave at once.
pub(super) fn interrupted(
    client: &Arc<Client>,
    id: ExecutionId,
    owns: bool,
    progress: &mut Progress,
    asked: &mut Asked,
) -> bool {
    if !owns {
        progress.note(&format!("left; it goes on (end it with: ccb cancel {id})"));
        return true;
    }
    if !matches!(asked, Asked::Nothing) {
        return true;
    }
    progress.note("cancelling; once more leaves at once");
    *asked = Asked::Cancel(cancel(client, id));
    false
}

/// Cancels beside the stream: the answer comes while output is still read.
fn cancel(client: &Arc<Client>, id: ExecutionId) -> JoinHandle<Result<Status, Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.control(id, Control::Cancel).await })
}

/// The answer of the cancel, if one is under way.
pub(super) async fn cancelled(asked: &mut Asked) -> Result<Status, Error> {
    match asked {
        Asked::Cancel(task) => task.await.unwrap_or(Err(Error::Closed)),
        Asked::Nothing | Asked::Answered => std::future::pending().await,
    }
}
