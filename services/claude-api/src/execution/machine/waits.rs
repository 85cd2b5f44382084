//! The effects of a wait of the CLI on the status and the timers. The CLI waits for a person, for
//! the client that answers its prompts, or for the next message of a client.

use std::time::{Duration, Instant};

use renderer::{Activity, SessionState};

use super::Machine;
use super::facts::short;

impl Machine {
    /// Returns whether the execution leaves its permit to others, because it waits for a person,
    /// for the client's answer to a permission prompt, or for a message. A hook or an MCP server of
    /// the client answers soon, so its call does not count.
    pub(crate) fn leaves_permit(&self) -> bool {
        let waiting = &self.waiting;
        waiting.person || waiting.client_tool.is_some() || waiting.input_since.is_some()
    }

    /// Returns whether a permission prompt waits for a person or for the client, so that the tool
    /// does not run yet.
    pub(super) fn is_prompting(&self) -> bool {
        self.waiting.person || self.waiting.client_tool.is_some()
    }

    /// Records which requests of the CLI wait for the client: whether there is any, and the tool of
    /// the oldest permission prompt.
    pub(crate) fn client_requests(&mut self, any: bool, tool: Option<String>, now: Instant) {
        if self.waiting.client == any && self.waiting.client_tool == tool {
            return;
        }
        self.waiting.client = any;
        self.waiting.client_tool = tool;
        self.waiting_changed(now);
    }

    /// Records the state that the CLI reports for its session. `has_input` is whether a line of a
    /// client is buffered, so that the next turn begins at once.
    pub(crate) fn session_state(&mut self, state: SessionState, has_input: bool, now: Instant) {
        if state == SessionState::Idle && self.stdin_open && !has_input {
            self.begin_input_wait(now);
        } else {
            self.end_input_wait(now);
        }
    }

    /// Records that the CLI waits for a message from now on.
    pub(crate) fn begin_input_wait(&mut self, now: Instant) {
        if self.waiting.input_since.is_none() {
            self.waiting.input_since = Some(self.running_time(now));
            self.waiting_changed(now);
        }
    }

    /// Records that the CLI does not wait for a message any more. Has no effect if it does not.
    pub(crate) fn end_input_wait(&mut self, now: Instant) {
        if self.waiting.input_since.take().is_some() {
            self.waiting_changed(now);
        }
    }

    /// Returns the running time at which the CLI began to wait for a message. `None` during a turn.
    pub(crate) fn waits_for_input_since(&self) -> Option<Duration> {
        self.waiting.input_since
    }

    /// Stops the idle timeout while the CLI waits, and shows the wait in the status.
    pub(super) fn waiting_changed(&mut self, now: Instant) {
        self.timers
            .tools(now, self.waiting.is_any() || !self.tools.is_empty());
        self.show_activity();
    }

    /// Sets the activity in the status: the answer or message that the CLI waits for, or the CLI's
    /// own activity.
    pub(super) fn show_activity(&mut self) {
        let question = self.status.questions.first();
        let tool = question.map(|question| &question.tool);
        let input = self.waiting.input_since.map(|_| "input".to_owned());
        let awaited = tool
            .or(self.waiting.client_tool.as_ref())
            .cloned()
            .or(input);
        let text = match awaited {
            Some(awaited) => Some(short(&Activity::Waiting(awaited).to_string())),
            None => self.activity.clone(),
        };
        self.changed |= self.status.activity != text;
        self.status.activity = text;
    }
}
