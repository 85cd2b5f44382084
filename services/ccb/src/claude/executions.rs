//! Queries about other executions: the newest conversation of a workspace, and the numbers of
//! running and queued executions.

use client::{Client, Error};
use protocol::{ExecutionId, State, Status};

/// The maximum number of executions that a query looks at, newest first. An older conversation is
/// probably not the one that `--continue` means.
const SEARCHED: usize = 1000;
/// The number of executions on one page of the list.
const PAGE: u32 = 200;

/// Returns the newest conversation of a workspace among the newest 1,000 executions.
pub(super) async fn newest_conversation(
    client: &Client,
    workspace: &str,
) -> Result<Option<ExecutionId>, Error> {
    let mut newest = None;
    visit(client, |status| {
        if status.workspace == workspace {
            newest = status.conversation.as_deref().and_then(|c| c.parse().ok());
        }
        newest.is_none()
    })
    .await?;
    Ok(newest)
}

/// Returns the numbers of running and queued executions that this client may see. `waiting` is the
/// last status of this client's own execution. Its position counts the whole queue before it.
pub(super) async fn counts(client: &Client, waiting: Option<&Status>) -> Result<(u64, u64), Error> {
    let (mut running, mut queued) = (0, 0);
    visit(client, |status| {
        match status.state {
            State::Running | State::Paused => running += 1,
            State::Queued => queued += 1,
            _ => {}
        }
        true
    })
    .await?;
    let position = waiting.and_then(|status| status.queue_position);
    Ok((running, queued.max(position.map_or(0, |before| before + 1))))
}

/// Returns another execution that holds the conversation of a queued one, if there is one.
/// Executions of one conversation run one after the other.
pub(super) async fn holder(
    client: &Client,
    waiting: &Status,
) -> Result<Option<ExecutionId>, Error> {
    let mut holder = None;
    if waiting.conversation.is_none() {
        return Ok(holder);
    }
    visit(client, |status| {
        let is_active = matches!(status.state, State::Running | State::Paused);
        let is_other = status.execution_id != waiting.execution_id;
        if is_active && is_other && status.conversation == waiting.conversation {
            holder = Some(status.execution_id);
        }
        holder.is_none()
    })
    .await?;
    Ok(holder)
}

/// Calls a function with each execution, newest first, until the function returns false or the
/// maximum is reached.
async fn visit(client: &Client, mut visitor: impl FnMut(&Status) -> bool) -> Result<(), Error> {
    let (mut before, mut visited) = (None, 0);
    loop {
        let page = client.list(PAGE, before).await?;
        for status in &page.executions {
            visited += 1;
            if !visitor(status) || visited == SEARCHED {
                return Ok(());
            }
        }
        match page.next {
            Some(next) if !page.executions.is_empty() => before = Some(next),
            _ => return Ok(()),
        }
    }
}
