//! The questions of a running execution: prompts of its CLI become questions, and the open ones are
//! shown in its status.

use std::sync::Arc;
use std::time::Instant;

use renderer::Fact;

use super::running::Running;
use crate::webhooks::Webhooks;

impl Running<'_> {
    /// Handles a fact that concerns questions: a prompt of the CLI, its withdrawal, or the begin or
    /// end of a turn, on which the end of stdin depends. Blocks on the disk for a prompt.
    pub(super) fn question(&mut self, fact: &Fact, now: Instant) {
        let Some(questions) = &self.owner.questions else {
            return;
        };
        let at = self.owner.times.now();
        let in_place = &self.owner.engine.in_place;
        match fact {
            Fact::ControlRequested {
                request_id,
                request,
            } => {
                let running = self.machine.running_time(now);
                in_place.run(|| questions.requested(request_id, request.as_ref(), at, running));
            }
            Fact::ControlWithdrawn { request_id } => {
                in_place.run(|| questions.withdrawn(request_id, at));
            }
            // The turn continues, or another one begins.
            Fact::Init { .. } => self.hold_stdin_open(true),
            Fact::Result(_) => self.turn_ended(),
            _ => {}
        }
    }

    /// Lets stdin end after the last turn, unless a question is open: a sub-agent in the background
    /// asks also between turns.
    fn turn_ended(&self) {
        if let Some(questions) = &self.owner.questions {
            questions.hold_stdin();
        }
        self.hold_stdin_open(false);
    }

    /// Sets whether stdin stays open after the last line, for answers to later questions.
    fn hold_stdin_open(&self, held_open: bool) {
        if let Some(gate) = &self.owner.input {
            gate.hold_open(held_open);
        }
    }

    /// Returns when the next question is denied because nobody has answered. `None` while the
    /// execution is paused, and if no question has a timeout.
    pub(super) fn next_question_expiry(&self, now: Instant) -> Option<Instant> {
        let expiry = self.owner.questions.as_ref()?.next_expiry()?;
        if self.machine.is_paused() {
            return None;
        }
        Some(now + expiry.saturating_sub(self.machine.running_time(now)))
    }

    /// Denies questions that nobody has answered in time, and shows the open ones in the status.
    pub(super) fn show_questions(&mut self, now: Instant) {
        let Some(questions) = self.owner.questions.as_ref().map(Arc::clone) else {
            return;
        };
        let running = self.machine.running_time(now);
        if questions
            .next_expiry()
            .is_some_and(|expiry| expiry <= running)
        {
            let at = self.owner.times.now();
            let in_place = &self.owner.engine.in_place;
            in_place.run(|| questions.expire(running, at));
        }
        if !self.machine.is_underway() {
            // Nothing may be allowed any more, also while the processes still end.
            questions.stop(self.owner.times.now());
        }
        questions.hold_stdin();
        let was_waiting_for_person = self.machine.is_waiting_for_person();
        let (open, count) = questions.for_status();
        self.machine.questions(open, count, now);
        if self.machine.is_waiting_for_person() && !was_waiting_for_person {
            self.report(Webhooks::asking);
        }
    }
}
