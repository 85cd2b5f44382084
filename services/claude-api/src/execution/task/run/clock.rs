//! The clock of a running execution: deadlines, and when its status is published and written to
//! disk.

use std::time::{Duration, Instant};

use super::running::Running;
use super::waits::finished;
use crate::execution::phase::{Input, Order};
use crate::execution::policy::was_asked;
use spool::blocking::Work;

/// How long until a command that the runner's socket refused is sent again.
const RESEND: Duration = Duration::from_millis(100);

impl Running<'_> {
    pub(super) fn wake(&self) -> Option<Instant> {
        let now = Instant::now();
        // The sample's coming wakes it.
        let next = match self.sample {
            Some(_) => None,
            None => self.machine.next(now),
        };
        let resend = self.owner.wishes.is_unsent().then(|| now + RESEND);
        let kill_runner_at = self.machine.kill_runner_at();
        [next, kill_runner_at, resend].into_iter().flatten().min()
    }

    /// Looks at the CPU time of a silent tree.
    pub(super) fn sample_cpu(&mut self) {
        let now = Instant::now();
        if self.machine.wants_cpu(now) && self.sample.is_none() {
            // From the runner down: it inherits the times of whom it reaped.
            let pid = self.control.runner_pid();
            let look = move || (now, runner::tree_cpu(pid));
            self.sample = Some(Work::begin(look));
        }
    }

    /// Runs after every step: follows the wish, acts on deadlines, and publishes the status.
    pub(super) fn after(&mut self) {
        let now = Instant::now();
        self.follow_wish(now);
        let was_stalled = self.machine.status().stalled;
        // Not before the sample is in: it may be the progress that a silence lacks.
        if self.sample.is_none() {
            let order = self.machine.judge(now);
            self.obey(order);
        }
        if self.machine.status().stalled && !was_stalled {
            self.owner.engine.metrics.stalls.inc();
        }
        self.input(Input::Tick, now);
        if self.machine.take_changed() {
            let paused = self.machine.is_paused();
            let since = if paused { None } else { Some(now) };
            let status = self.machine.status();
            self.owner.show(status, self.machine.running(now), since);
            let asked = !self.asked && was_asked(status);
            if now.duration_since(self.last_shown) > Duration::from_secs(1) || paused || asked {
                self.asked |= asked;
                self.last_shown = now;
                self.status_due = true;
            }
        }
        self.record();
    }

    /// Does what the machine orders.
    pub(super) fn obey(&mut self, order: Option<Order>) {
        match order {
            None => {}
            Some(Order::Terminate) => self.owner.wishes.terminate(),
            Some(Order::KillRunner) => {
                tracing::warn!(
                    execution = %self.machine.status().execution_id,
                    "the runner does not end; killing it"
                );
                self.control.kill_runner();
            }
        }
    }

    /// Starts the due write unless one is under way, so that a slow disk delays no step.
    fn record(&mut self) {
        if self.recording.is_some() || !(self.status_due || self.begun_due) {
            return;
        }
        let status = std::mem::take(&mut self.status_due).then_some(self.machine.status());
        let begun = std::mem::take(&mut self.begun_due);
        self.recording = Some(self.owner.begin_record(status, begun));
    }

    /// Waits for the writes that are under way or due: the terminal status must be the last.
    pub(super) async fn recorded(&mut self) {
        while self.recording.is_some() || self.status_due || self.begun_due {
            self.record();
            let _ = finished(&mut self.recording).await;
            self.recording = None;
        }
    }
}
