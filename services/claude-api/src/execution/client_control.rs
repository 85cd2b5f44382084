//! The control protocol of an execution with `"permissionPrompts": "client"`: requests of the CLI
//! that the client answers, and requests of the client to the CLI (docs/protocol.md, "Client
//! control").
//!
//! ```text
//! the CLI's stdout ──▶ requested ──▶ verdict ──▶ open requests ──▶ events of the client
//!                                       │ denied at once              │
//! the CLI's stdin ◀─────────────────────┴───────── responses ◀────────┘ control_response
//! the CLI's stdin ◀─────────────────────────────── requests ◀─── control_request of the client
//! ```
//!
//! The client is not trusted more than a person who answers a question: what it may allow is
//! decided here, because the CLI would obey it (docs/claude-cli.md, "Control protocol"). Each line
//! for the CLI is built anew from known members.

mod hooks;
mod initialize;
mod lines;
mod open_requests;
mod requests;
mod responses;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

pub(crate) use lines::{CheckedResponse, ControlFault};
pub(crate) use requests::KNOWN_REQUESTS;

use super::control_response::{denial, error_line, success_line};
use super::prompt::{Prompt, PromptVerdict};
use crate::config::AnswerCeiling;
use open_requests::{OpenRequest, OpenRequests};

/// The longest id of a request of the CLI that passes to the client, in bytes. The CLI's own ids
/// have 36 bytes.
const REQUEST_ID_BYTES_MAX: usize = 1024;
/// The message that the model or the CLI reads if the client has not answered in time.
const TIMED_OUT: &str = "The client did not answer in time.";

/// The control protocol of one execution, shared by its task and by the requests of clients.
///
/// - An entry is taken when the CLI asks, and freed by the client's response, a withdrawal of the
///   CLI, the end of its stdin, or after `inputIdleSeconds`.
/// - No request waits for an entry: one that does not fit is refused at once.
/// - The CLI bounds the other direction: it asks again only after an answer, or for another tool.
#[derive(Debug)]
pub(crate) struct ClientControl {
    // Held for single operations on the table. No await happens inside.
    open: Mutex<OpenRequests>,
    /// Wakes the execution's task after each change.
    changed: watch::Sender<()>,
    /// The most that a response may allow.
    ceiling: AnswerCeiling,
}

impl ClientControl {
    /// Creates the control protocol of an execution that has not started.
    pub(crate) fn new(ceiling: AnswerCeiling) -> Self {
        Self {
            open: Mutex::default(),
            changed: watch::Sender::new(()),
            ceiling,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut OpenRequests) -> T) -> T {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a receiver that wakes after each change of the open requests.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Handles a control request of the CLI. `request` is `None` if it could not be read. Returns
    /// the answer if the client may not answer it; otherwise the request waits for the client.
    pub(crate) fn requested(
        &self,
        request_id: &str,
        request: Option<&Value>,
        running: Duration,
    ) -> Option<Value> {
        let answer = match self.judge(request_id, request) {
            Ok(open) => self
                .with(|table| table.add(request_id, open, running))
                .err()
                .map(|reason| error_line(request_id, &reason)),
            Err(answer) => Some(answer),
        };
        self.changed.send_replace(());
        answer
    }

    /// Decides whether the client may answer a request of the CLI. Fails with the answer if not.
    fn judge(&self, request_id: &str, request: Option<&Value>) -> Result<OpenRequest, Value> {
        let refuse = |reason: &str| Err(error_line(request_id, reason));
        let subtype = request.and_then(|request| request.get("subtype")?.as_str());
        if request_id.len() > REQUEST_ID_BYTES_MAX {
            return refuse("the id of the request is too long");
        }
        match subtype {
            Some("hook_callback") => return Ok(OpenRequest::Hook),
            Some("mcp_message") => return Ok(OpenRequest::ServerMessage),
            Some("elicitation") => return Ok(OpenRequest::Elicitation),
            Some("can_use_tool") => {}
            _ => return refuse("cc-bridge passes no control requests of this subtype to clients"),
        }
        let Some(prompt) = request.and_then(|request| Prompt::read(request_id, request)) else {
            return refuse("the permission prompt cannot be read");
        };
        match self.ceiling.judge(&prompt) {
            PromptVerdict::Deny(reason) => {
                let response = denial(&format!("The operator denies this: {reason}."));
                Err(success_line(request_id, &response))
            }
            PromptVerdict::Ask { input_is_fixed } => Ok(OpenRequest::Prompt {
                prompt: Box::new(prompt),
                input_is_fixed,
            }),
        }
    }

    /// Gives up the requests that were asked at this running time or before. Returns the answers
    /// for the CLI: a denial of a permission prompt, and an error to any other request.
    pub(crate) fn expire(&self, time: Duration) -> Vec<Value> {
        let due = self.with(|table| table.take_until(time));
        self.changed.send_replace(());
        let answer = |(id, request): (String, OpenRequest)| match request {
            OpenRequest::Prompt { .. } => success_line(&id, &denial(TIMED_OUT)),
            OpenRequest::Hook | OpenRequest::ServerMessage | OpenRequest::Elicitation => {
                error_line(&id, TIMED_OUT)
            }
        };
        due.into_iter().map(answer).collect()
    }

    /// Forgets all requests, because no answer can reach the CLI any more.
    pub(crate) fn close(&self) {
        self.with(OpenRequests::close);
        self.changed.send_replace(());
    }

    /// Forgets a request that the CLI has withdrawn.
    pub(crate) fn withdrawn(&self, request_id: &str) {
        self.with(|table| table.remove(request_id));
        self.changed.send_replace(());
    }

    /// Checks a `control_response` line of the client. [`ClientControl::accept`] must follow once
    /// the line is accepted.
    ///
    /// # Errors
    /// The line is malformed. A response that allows more than the operator does is not an error:
    /// it becomes a denial, so that the CLI does not wait forever.
    pub(crate) fn check_response(&self, line: &Value) -> Result<CheckedResponse, ControlFault> {
        self.with(|table| responses::check(line, table, &self.ceiling))
    }

    /// Records that a checked response was accepted, so that its request is no longer open.
    pub(crate) fn accept(&self, response: &CheckedResponse) {
        self.with(|table| {
            table.remove(&response.request_id);
            table.dropped_updates += response.dropped_updates;
        });
        self.changed.send_replace(());
    }

    /// Checks a control request of the client, and returns the `request` for the CLI, built from
    /// known members.
    ///
    /// # Errors
    /// The request is malformed, or asks for more than the operator allows.
    pub(crate) fn check_request(
        &self,
        subtype: &str,
        request: &Value,
    ) -> Result<Value, ControlFault> {
        requests::rebuild(subtype, request, &self.ceiling)
    }

    /// Returns what waits for the client now, and what was left out so far.
    pub(crate) fn snapshot(&self) -> ControlSnapshot {
        self.with(|table| ControlSnapshot {
            since: table.oldest(),
            tool: table.oldest_prompt().map(|prompt| prompt.tool.clone()),
            dropped_updates: table.dropped_updates,
        })
    }
}

/// The requests of a CLI that wait for the client at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct ControlSnapshot {
    /// The running time at which the oldest open request was asked. `None` if none is open.
    pub(crate) since: Option<Duration>,
    /// The tool of the oldest open permission prompt. `None` if no prompt is open.
    pub(crate) tool: Option<String>,
    /// The number of changes and rules of the permissions that were left out of responses so far.
    pub(crate) dropped_updates: u64,
}

#[cfg(test)]
mod tests;
