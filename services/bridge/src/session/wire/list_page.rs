//! The answer to a `list` request, which holds a page of statuses, cut to the length of a message
//! (docs/protocol.md, "Request parameters"). Its `next` names the following page.

use protocol::{ExecutionId, Status};

/// A page of the list of executions, with its statuses already encoded as JSON. It becomes the
/// answer to a `list` request.
#[derive(Debug, Default)]
pub struct ListPage {
    /// The ids and the encoded statuses of the executions, newest first.
    pub executions: Vec<(ExecutionId, String)>,
    /// The status of the first execution. It is encoded again if its JSON alone is too long for the
    /// answer. `None` on an empty page.
    pub newest: Option<Box<Status>>,
    /// The value of `before` with which the client requests the next page. `None` at the end of the
    /// list.
    pub next: Option<ExecutionId>,
}

impl ListPage {
    /// Encodes the result of a `list` request, with as many statuses as fit into `limit` bytes. A
    /// first status that is too long is shortened, so a page is never empty for lack of space.
    /// `next` is set so that the following page begins with the first status that was left out.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> String {
        // The member names, the brackets and an id.
        const ENVELOPE_BYTES: usize = 80;
        let (mut list, mut next) = (String::new(), self.next);
        for (number, (_, status)) in self.executions.iter().enumerate() {
            if number == 0
                && status.len() + ENVELOPE_BYTES > limit
                && let Some(newest) = &self.newest
            {
                let short = newest.to_json(limit.saturating_sub(ENVELOPE_BYTES));
                list.push_str(&String::from_utf8_lossy(&short));
                continue;
            }
            if number > 0 {
                if list.len() + 1 + status.len() + ENVELOPE_BYTES > limit {
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
