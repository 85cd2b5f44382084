//! A page of a list as an answer (docs/protocol.md, "Request parameters"), cut to the length of a
//! message. `next` names the following page.

use protocol::{ExecutionId, Status};

/// A page with its statuses as JSON.
#[derive(Debug, Default)]
pub struct ListPage {
    /// The statuses, newest first.
    pub executions: Vec<(ExecutionId, String)>,
    /// The newest status. It is on the page even if it has to be cut.
    pub newest: Option<Box<Status>>,
    /// The `before` of the next page; None at the end.
    pub next: Option<ExecutionId>,
}

impl ListPage {
    /// Encodes as many executions as fit into `limit` bytes, at least one. The rest goes to the
    /// next page.
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
