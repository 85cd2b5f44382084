//! The requests of the CLI that wait for the client, as a plain value.

use std::collections::HashMap;

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
    /// The number of changes of the permissions that were left out of responses.
    pub(super) dropped_updates: u64,
}

#[derive(Debug)]
struct Entry {
    request: OpenRequest,
    number: u64,
    input_bytes: usize,
}

impl OpenRequests {
    /// Adds a request. Fails with the reason for the CLI if there is no room.
    pub(super) fn add(&mut self, id: &str, request: OpenRequest) -> Result<(), String> {
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

    /// Returns the open request with this id. `None` if it was answered or withdrawn, or never
    /// asked.
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

    /// Returns whether no request is open.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
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
            table.add(&n.to_string(), OpenRequest::Hook).unwrap();
        }
        assert!(table.add("more", OpenRequest::Hook).is_err());
        table.remove("0");
        assert!(table.add("more", OpenRequest::Hook).is_ok());

        let mut table = OpenRequests::default();
        table.add("a", prompt(INPUT_BYTES_MAX - 100)).unwrap();
        assert!(table.add("b", prompt(100)).is_err());
        table.remove("a");
        assert!(table.add("b", prompt(100)).is_ok());
    }

    #[test]
    fn the_oldest_prompt_is_shown() {
        let mut table = OpenRequests::default();
        table.add("hook", OpenRequest::Hook).unwrap();
        assert!(table.oldest_prompt().is_none());
        table.add("b", prompt(1)).unwrap();
        table.add("a", prompt(2)).unwrap();
        assert_eq!(table.oldest_prompt().unwrap().input["command"], "x");
        table.remove("b");
        assert_eq!(table.oldest_prompt().unwrap().input["command"], "xx");
    }
}
