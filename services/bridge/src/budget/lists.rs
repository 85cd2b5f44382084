//! Pages of a list. A page is at most as long as a message may be; `next` names the next page. The
//! bridge asks claude-api for a page in parts, because a status has anything from 1 to 64 KiB.
//!
//! The budget for lists and events ([`super::part`]) while claude-api is asked (`PART_BYTES` each):
//! - Taken when: a list, or a request for events, has its turn in its session; released with the
//!   page, after `callMs` at most.
//! - Who waits behind whom: those of one session for each other, and all of them in the order
//!   received, for `callMs` at most. All take the same amount, so the first blocks no smaller one.
//! - The other direction: a finished page is an answer like any other ([`super::outbound`]).

use std::sync::Arc;

use protocol::rpc::RpcError;
use protocol::{ExecutionId, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::action::Action;
use crate::upstream::Upstream;

/// Memory for the lists and events of all sessions while claude-api is asked, in bytes.
pub const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// Statuses in one request to claude-api.
const PART: u64 = 16;
/// A status of a page, generously, in bytes.
const ENTRY_BYTES: u32 = 72 * 1024;
/// Memory of one list, in bytes: a part, and the page gathered so far.
pub(super) const PART_BYTES: u32 =
    PART as u32 * ENTRY_BYTES + protocol::SERVER_MESSAGE_BYTES as u32;
/// The contract's default `limit`.
const DEFAULT_LIMIT: u64 = 50;
/// A page of so many bytes is like any other answer.
const SMALL_BYTES: usize = 64 * 1024;

/// A page, its statuses as JSON.
#[derive(Debug, Default)]
pub struct ListPage {
    /// Newest first.
    pub executions: Vec<(ExecutionId, String)>,
    /// The newest status: it is on every page, cut when it does not fit.
    pub newest: Option<Box<Status>>,
    /// The `before` of the next page; None at the end.
    pub next: Option<ExecutionId>,
}

impl ListPage {
    /// The JSON of as many executions as fit, one at least; the rest is for the next page.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> String {
        // The names, the brackets and an id.
        const FRAME_BYTES: usize = 80;
        let (mut list, mut next) = (String::new(), self.next);
        for (number, (_, status)) in self.executions.iter().enumerate() {
            if number == 0
                && status.len() + FRAME_BYTES > limit
                && let Some(newest) = &self.newest
            {
                let short = newest.to_json(limit.saturating_sub(FRAME_BYTES));
                list.push_str(&String::from_utf8_lossy(&short));
                continue;
            }
            if number > 0 {
                if list.len() + 1 + status.len() + FRAME_BYTES > limit {
                    next = Some(self.executions[number - 1].0);
                    break;
                }
                list.push(',');
            }
            list.push_str(status);
        }
        let next = next.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
        format!(r#"{{"executions":[{list}],"next":{next}}}"#)
    }
}

/// Asks claude-api for a page, part for part, until it is long enough or the call's time is over.
pub(super) async fn gather(
    upstream: &Upstream,
    limit: Option<u64>,
    before: Option<ExecutionId>,
    status_bytes: usize,
) -> Result<ListPage, RpcError> {
    let end = Instant::now() + upstream.times.call;
    let mut left = limit.unwrap_or(DEFAULT_LIMIT);
    let mut page = ListPage {
        next: before,
        ..ListPage::default()
    };
    let mut bytes = 0;
    while left > 0 {
        let asked = upstream.list(Some(left.min(PART)), page.next);
        let part = if page.executions.is_empty() {
            asked.await?
        } else {
            match timeout_at(end, asked).await {
                Ok(Ok(part)) => part,
                // A page of fewer statuses is still a page: its `next` names the following one.
                Ok(Err(_)) | Err(_) => return Ok(page),
            }
        };
        left = left.saturating_sub(PART);
        for status in part.executions {
            let json = String::from_utf8_lossy(&status.to_json(status_bytes)).into_owned();
            bytes += json.len() + 1;
            page.executions.push((status.execution_id, json));
            page.newest.get_or_insert_with(|| Box::new(status));
        }
        page.next = part.next;
        if page.next.is_none() || bytes >= protocol::SERVER_MESSAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// The lists and events of one session: one at a time, until the client has taken it.
#[derive(Debug)]
pub(super) struct Pages {
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(1)),
            turn: None,
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // The session has ended, so requests that wait for their turn are not made.
        self.turns.close();
    }
}

impl Pages {
    /// Where a list, or a request for events, gets its turn.
    pub(super) fn turns(&self) -> Arc<Semaphore> {
        self.turns.clone()
    }

    /// Keeps the turn until these actions are sent. A page that waits in a batch delays no other
    /// one.
    pub(super) fn keep(&mut self, turn: OwnedSemaphorePermit, actions: &[Action]) {
        let sent = actions.iter().map(|action| match action {
            Action::Send(text) => text.len(),
            _ => 0,
        });
        if sent.sum::<usize>() > SMALL_BYTES {
            self.turn = Some(turn);
        }
    }

    /// Notes that the client has read everything that was sent.
    pub(super) fn sent(&mut self) {
        self.turn = None;
    }
}
