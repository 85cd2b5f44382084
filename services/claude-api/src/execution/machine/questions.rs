//! How open questions change the status and the timers.

use std::time::Instant;

use protocol::question::OpenQuestion;

use super::Machine;

impl Machine {
    /// Shows the open questions in the status. `open` are the oldest, and `count` is the number of
    /// all. While one is open, the idle timeout does not advance.
    pub(crate) fn questions(&mut self, open: Vec<OpenQuestion>, count: u64, now: Instant) {
        if self.status.questions == open && self.status.questions_open == count {
            return;
        }
        self.waiting.person = count > 0;
        self.status.questions = open;
        self.status.questions_open = count;
        self.changed = true;
        self.waiting_changed(now);
    }

    /// Returns whether a question waits for a person.
    pub(crate) fn is_waiting_for_person(&self) -> bool {
        self.waiting.person
    }
}
