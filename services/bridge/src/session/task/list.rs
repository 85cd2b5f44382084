//! Gathers a page of a list. The bridge requests it from claude-api in parts, because the size of a
//! status varies from 1 to 64 KiB.

use protocol::ExecutionId;
use protocol::rpc::RpcError;
use tokio::time::{Instant, timeout_at};

use crate::budget::lists::STATUSES;
use crate::session::wire::list_page::ListPage;
use crate::upstream::Upstream;

/// The most statuses of a page if the request has no `limit` (docs/protocol.md, "Request
/// parameters").
const DEFAULT_LIMIT: u64 = 50;

/// Requests a page of at most `limit` statuses (50 if `None`) older than `before`, part by part.
/// The page is shorter if it fills a message or if the call's time is over; its `next` names the
/// following page.
///
/// # Errors
/// The first part could not be read.
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
        let request = upstream.list(Some(left.min(STATUSES)), page.next);
        let part = if page.executions.is_empty() {
            request.await?
        } else {
            match timeout_at(end, request).await {
                Ok(Ok(part)) => part,
                // A page of fewer statuses is still a page: its `next` names the following one.
                Ok(Err(_)) | Err(_) => return Ok(page),
            }
        };
        left = left.saturating_sub(STATUSES);
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
