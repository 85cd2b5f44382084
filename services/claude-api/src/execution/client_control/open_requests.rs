//! The requests of the CLI that wait for the client, as a plain value.

use std::collections::HashMap;
use std::time::Duration;

use crate::execution::prompt::Prompt;

/// The maximum number of requests of one execution that are open at the same time. A CLI with many
/// sub-agents has some dozens.
const OPEN_MAX: usize = 1024;
/// The maximum size of the inputs of all open permission prompts together, in bytes of JSON.
const INPUT_BYTES_MAX: usize = 32 << 20;

/// A request of the CLI that waits for the client.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OpenRequest {
    /// May this tool run? (`can_use_tool`)
    Prompt {
        /// The prompt.
        prompt: Box<Prompt>,
        /// Whether the response must leave the input as it is.
        input_is_fixed: bool,
    },
    /// The call of a hook that the client has registered (`hook_callback`).
    Hook,
    /// A message to an MCP server in the client (`mcp_message`).
    ServerMessage,
    /// A form of an MCP server (`elicitation`).
    Elicitation,
}

/// The open requests of one execution by the CLI's id.
#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    by_id: HashMap<String, Entry>,
    input_bytes: usize,
    /// The number of requests so far, which orders them.
    count: u64,
    /// The number of changes and rules of the permissions that were left out of responses.
    /// Whether no answer can reach the CLI any more.
    is_closed: bool,
    pub(super) dropped_updates: u64,
}

#[derive(Debug)]
struct Entry {
    request: OpenRequest,
    number: u64,
    input_bytes: usize,
    /// The running time of the execution at which the CLI asked.
    since: Duration,
}

impl OpenRequests {
    /// Adds a request. Fails with the reason for the CLI if there is no room.
    pub(super) fn add(
        &mut self,
        id: &str,
        request: OpenRequest,
        since: Duration,
    ) -> Result<(), String> {
        if self.is_closed {
            return Err("the input of the CLI has ended".to_owned());
        }
        let input_bytes = match &request {
            OpenRequest::Prompt { prompt, .. } => prompt.input.to_string().len(),
            OpenRequest::Hook | OpenRequest::ServerMessage | OpenRequest::Elicitation => 0,
        };
        self.remove(id);
        if self.by_id.len() >= OPEN_MAX {
            return Err(format!("{OPEN_MAX} requests wait for the client already"));
        }
        if self.input_bytes + input_bytes > INPUT_BYTES_MAX {
            return Err(format!(
                "the inputs of open permission prompts would have more than {INPUT_BYTES_MAX} bytes"
            ));
        }
        self.count += 1;
        self.input_bytes += input_bytes;
        let entry = Entry {
            request,
            number: self.count,
            input_bytes,
            since,
        };
        self.by_id.insert(id.to_owned(), entry);
        Ok(())
    }

    /// Removes a request. Has no effect if it is not open.
    pub(super) fn remove(&mut self, id: &str) {
        if let Some(entry) = self.by_id.remove(id) {
            self.input_bytes -= entry.input_bytes;
        }
    }

    /// Returns the open request with this id. `None` if the request was answered or withdrawn, or
    /// never existed.
    pub(super) fn get(&self, id: &str) -> Option<&OpenRequest> {
        self.by_id.get(id).map(|entry| &entry.request)
    }

    /// Returns the permission prompt that has been open for the longest time.
    pub(super) fn oldest_prompt(&self) -> Option<&Prompt> {
        let prompts = self
            .by_id
            .values()
            .filter_map(|entry| match &entry.request {
                OpenRequest::Prompt { prompt, .. } => Some((entry.number, &**prompt)),
                OpenRequest::Hook | OpenRequest::ServerMessage | OpenRequest::Elicitation => None,
            });
        prompts
            .min_by_key(|(number, _)| *number)
            .map(|(_, prompt)| prompt)
    }

    /// Returns the running time at which the oldest open request was asked. `None` if none is open.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.by_id.values().map(|entry| entry.since).min()
    }

    /// Removes the requests that were asked at this running time or before. Returns each with its
    /// id.
    pub(super) fn take_until(&mut self, time: Duration) -> Vec<(String, OpenRequest)> {
        let is_due = |(_, entry): &(&String, &Entry)| entry.since <= time;
        let due = self.by_id.iter().filter(is_due);
        let ids: Vec<_> = due.map(|(id, _)| id.clone()).collect();
        let mut taken = Vec::new();
        for id in ids {
            if let Some(request) = self.get(&id).cloned() {
                self.remove(&id);
                taken.push((id, request));
            }
        }
        taken
    }

    /// Forgets all requests, and takes no further ones.
    pub(super) fn close(&mut self) {
        self.by_id.clear();
        self.input_bytes = 0;
        self.is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn prompt(bytes: usize) -> OpenRequest {
        let request = json!({"subtype": "can_use_tool", "tool_name": "Bash",
            "input": {"command": "x".repeat(bytes)}});
        OpenRequest::Prompt {
            prompt: Box::new(Prompt::read("r", &request).unwrap()),
            input_is_fixed: false,
        }
    }

    #[test]
    fn the_number_and_the_size_of_open_requests_are_bounded() {
        let mut table = OpenRequests::default();
        for n in 0..OPEN_MAX {
            table
                .add(&n.to_string(), OpenRequest::Hook, Duration::ZERO)
                .unwrap();
        }
        assert!(
            table
                .add("more", OpenRequest::Hook, Duration::ZERO)
                .is_err()
        );
        table.remove("0");
        assert!(table.add("more", OpenRequest::Hook, Duration::ZERO).is_ok());

        let mut table = OpenRequests::default();
        table
            .add("a", prompt(INPUT_BYTES_MAX - 100), Duration::ZERO)
            .unwrap();
        assert!(table.add("b", prompt(100), Duration::ZERO).is_err());
        table.remove("a");
        assert!(table.add("b", prompt(100), Duration::ZERO).is_ok());
    }

    #[test]
    fn the_oldest_prompt_is_shown() {
        let mut table = OpenRequests::default();
        table
            .add("hook", OpenRequest::Hook, Duration::ZERO)
            .unwrap();
        assert!(table.oldest_prompt().is_none());
        table.add("b", prompt(1), Duration::ZERO).unwrap();
        table.add("a", prompt(2), Duration::ZERO).unwrap();
        assert_eq!(table.oldest_prompt().unwrap().input["command"], "x");
        table.remove("b");
        assert_eq!(table.oldest_prompt().unwrap().input["command"], "xx");
    }

    #[test]
    fn old_requests_are_taken_and_a_closed_table_takes_none() {
        let mut table = OpenRequests::default();
        let second = Duration::from_secs(1);
        table.add("a", OpenRequest::Hook, second).unwrap();
        table.add("b", prompt(5), 3 * second).unwrap();
        assert_eq!(table.oldest(), Some(second));
        assert_eq!(
            table.take_until(second),
            [("a".to_owned(), OpenRequest::Hook)]
        );
        assert_eq!(table.oldest(), Some(3 * second));
        table.close();
        assert_eq!(table.oldest(), None);
        assert!(table.add("c", OpenRequest::Hook, second).is_err());
    }
}
