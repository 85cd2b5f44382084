//! How open questions change the status and the timers.

use std::time::Instant;

use protocol::question::OpenQuestion;
use renderer::Activity;

use super::Machine;
use super::facts::short;

impl Machine {
    /// Shows the open questions in the status. `open` are the oldest, and `count` is the number of
    /// all. While one is open, the idle timeout does not advance.
    pub(crate) fn questions(&mut self, open: Vec<OpenQuestion>, count: u64, now: Instant) {
        if self.status.questions == open && self.status.questions_open == count {
            return;
        }
        self.is_waiting_for_person = count > 0;
        self.timers
            .tools(now, self.is_waiting_for_person || !self.tools.is_empty());
        self.status.questions = open;
        self.status.questions_open = count;
        self.changed = true;
        self.show_activity();
    }

    /// Returns whether a question waits for a person.
    pub(crate) fn is_waiting_for_person(&self) -> bool {
        self.is_waiting_for_person
    }

    /// Sets the activity in the status: that a person must answer, or what the CLI does.
    pub(super) fn show_activity(&mut self) {
        let waiting = self.status.questions.first();
        let text = match waiting {
            Some(question) => Some(short(&Activity::Waiting(question.tool.clone()).to_string())),
            None => self.activity.clone(),
        };
        self.changed |= self.status.activity != text;
        self.status.activity = text;
    }
}
