//! Gathers one page of the list of executions. The bridge requests it from claude-api in several
//! parts, because a status has from 1 to 64 KiB. So the memory of one HTTP response stays bounded.

use protocol::message::ListParams;
use protocol::rpc::RpcError;
use tokio::time::{Instant, timeout_at};

use crate::budget::lists::STATUSES;
use crate::session::wire::list_page::ListPage;
use crate::upstream::Upstream;

/// The most statuses on a page when the client's `list` request has no `limit` (docs/protocol.md,
/// "Request parameters").
const DEFAULT_LIMIT: u64 = 50;

/// Reads a page of execution statuses from claude-api, newest first, as the client's request `list`
/// asks for it. `status_bytes` is the most bytes of one encoded status.
///
/// The page is shorter when it fills a message, when a later part fails, or when `callMs` is over.
/// Its `next` then tells the client where to continue.
///
/// # Errors
/// The first part could not be read from claude-api.
pub(super) async fn gather(
    upstream: &Upstream,
    list: ListParams,
    status_bytes: usize,
) -> Result<ListPage, RpcError> {
    let ListParams {
        limit,
        before,
        workspace,
    } = list;
    let end = Instant::now() + upstream.times.call;
    let mut left = limit.unwrap_or(DEFAULT_LIMIT);
    let mut page = ListPage {
        next: before,
        ..ListPage::default()
    };
    let mut bytes = 0;
    while left > 0 {
        let request = upstream.list(Some(left.min(STATUSES)), page.next, workspace.as_deref());
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
