//! The timed work of a running execution: checking time limits, and publishing and writing its
//! status.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::Status;
use spool::blocking::Work;

use super::running::Running;
use super::waits::finished;
use crate::execution::phase::{Input, Order};
use crate::execution::policy::was_asked;
use crate::registry::Ticket;
use crate::times::now;
use crate::webhooks::Webhooks;

/// The wait before a command is sent again that the runner's full socket refused.
const RESEND: Duration = Duration::from_millis(100);

impl Running<'_> {
    /// Returns when the loop must wake up even if no event arrives, to check a time limit, to kill
    /// the runner, or to send a command again. `None` if no such work is due.
    pub(super) fn wake_time(&self) -> Option<Instant> {
        let now = Instant::now();
        // The end of a sample wakes the loop.
        let next = match self.sample {
            Some(_) => None,
            None => self.machine.next_check(now),
        };
        let resend = self.owner.wishes.is_unsent().then(|| now + RESEND);
        let kill_runner_at = self.machine.kill_runner_at();
        let question = self.next_question_expiry(now);
        let input = self.next_input_expiry(now);
        let times = [next, kill_runner_at, resend, question, input];
        times.into_iter().flatten().min()
    }

    /// Starts to measure the CPU time of the process tree on a blocking thread if the execution is
    /// silent, because CPU time counts as progress. Has no effect while a measurement is under way.
    pub(super) fn sample_cpu(&mut self) {
        let now = Instant::now();
        if self.machine.needs_cpu_sample(now) && self.sample.is_none() {
            // The tree begins at the runner, which inherits the CPU times of the processes that it
            // reaped.
            let pid = self.control.runner_pid();
            let sample = move || (now, runner::tree_cpu(pid));
            self.sample = Some(Work::begin(sample));
        }
    }

    /// Does the work at the end of every step of the loop: obeys the newest command, checks the
    /// time limits, and publishes a changed status. The status is written to the spool at most once
    /// a second. It is written at once if the execution was paused, the model was asked for the
    /// first time, or the cost of a principal's execution has changed.
    pub(super) fn finish_step(&mut self, ticket: &Ticket) {
        let now = Instant::now();
        self.follow_wish(now);
        self.show_questions(now);
        self.show_waits(ticket, now);
        let was_stalled = self.machine.status().stalled;
        // A sample under way may turn a silence into progress, so the check waits for it.
        if self.sample.is_none() {
            let order = self.machine.check_limits(now);
            self.obey(order);
        }
        if self.machine.status().stalled && !was_stalled {
            self.owner.engine.metrics.stalls.inc();
            self.report(Webhooks::stalled);
        }
        self.input(Input::Tick, now);
        if self.machine.take_changed() {
            let paused = self.machine.is_paused();
            let since = if paused { None } else { Some(now) };
            let status = self.machine.status();
            self.owner
                .show(status, self.machine.running_time(now), since);
            let asked = !self.asked && was_asked(status);
            // A kill must not make the execution free for its principal.
            let costs = status.principal.is_some() && status.cost_usd != self.recorded_cost;
            if costs {
                self.recorded_cost = status.cost_usd;
            }
            let is_late = now.duration_since(self.last_shown) > Duration::from_secs(1);
            if is_late || paused || asked || costs {
                self.asked |= asked;
                self.last_shown = now;
                self.status_due = true;
            }
        }
        self.record();
    }

    /// Adds an event to the queue of webhooks on a blocking thread, if the execution has a webhook.
    /// The loop does not wait for the disk.
    pub(super) fn report(&self, event: fn(&Webhooks, &Status, Timestamp)) {
        let engine = std::sync::Arc::clone(&self.owner.engine);
        let status = self.machine.status();
        if engine.webhooks.has(status.execution_id) {
            let status = status.clone();
            drop(Work::begin(move || event(&engine.webhooks, &status, now())));
        }
    }

    /// Carries out an order of the state machine: ends the process tree, or kills a runner that
    /// does not report. `None` does nothing.
    pub(super) fn obey(&mut self, order: Option<Order>) {
        match order {
            None => {}
            Some(Order::Terminate) => self.owner.wishes.terminate(),
            Some(Order::KillRunner) => {
                tracing::warn!(
                    execution = %self.machine.status().execution_id,
                    "the runner of an execution did not report in time; killing the runner, then \
                     the processes that it leaves"
                );
                self.control.kill_runner();
            }
        }
    }

    /// Starts to write the status to the spool if it is due and no other write is under way. The
    /// loop does not wait for the write, so a slow disk delays no step.
    fn record(&mut self) {
        if self.recording.is_some() || !(self.status_due || self.begun_due) {
            return;
        }
        let status = std::mem::take(&mut self.status_due).then_some(self.machine.status());
        let begun = std::mem::take(&mut self.begun_due);
        self.recording = Some(self.owner.begin_record(status, begun));
    }

    /// Waits until all writes of the status that are under way or due have ended, so that the
    /// terminal status is written last.
    pub(super) async fn finish_writes(&mut self) {
        while self.recording.is_some() || self.status_due || self.begun_due {
            self.record();
            let _ = finished(&mut self.recording).await;
            self.recording = None;
        }
    }
}
