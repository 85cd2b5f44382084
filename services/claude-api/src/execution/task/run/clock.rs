//! The clock of a running execution: when to look, what is due, what others should see.

use std::time::{Duration, Instant};

use protocol::State;
use tokio::task::JoinHandle;

use super::Running;
use crate::execution::machine::Due;
use crate::execution::policy::was_asked;
use crate::execution::verdict::EndedBy;

/// The CPU time that a tree had used, and when it was looked at.
pub(super) type Sample = (Instant, Duration);

impl Running<'_> {
    pub(super) fn wake(&self) -> Option<Instant> {
        // The sample's coming wakes it.
        let next = match self.sample {
            Some(_) => None,
            None => self.machine.next(Instant::now()),
        };
        match (next, self.give_up) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn clock(&mut self) {
        let now = Instant::now();
        if self.give_up.is_some_and(|at| now >= at) {
            self.give_up = None;
            tracing::warn!(execution = %self.machine.status.execution_id, "the runner does not end; it is killed");
            self.control.kill_runner();
        }
        let wanted = self.machine.by == EndedBy::Itself && self.machine.timers.wants_cpu(now);
        if wanted && self.sample.is_none() {
            // From the runner down: it inherits the times of whom it reaped.
            let pid = self.control.runner_pid();
            let look = move || (now, runner::tree_cpu(pid));
            self.sample = Some(tokio::task::spawn_blocking(look));
        }
    }

    /// After every step: what is due, and what others should see.
    pub(super) async fn after(&mut self) {
        let now = Instant::now();
        // Not before the sample is in: it may be the progress that a silence lacks.
        if self.sample.is_none() && self.machine.check(now) == Due::Terminate {
            self.terminate();
        }
        if self.machine.changed {
            self.machine.changed = false;
            let paused = self.machine.status.state == State::Paused;
            let since = if paused { None } else { Some(now) };
            self.owner.show(
                &self.machine.status,
                self.machine.timers.running(now),
                since,
            );
            let asked = !self.asked && was_asked(&self.machine.status);
            if now.duration_since(self.last_shown) > Duration::from_secs(1) || paused || asked {
                self.asked |= asked;
                self.last_shown = now;
                // For the next start after a kill; the end is written durably.
                let _ = self.owner.record(&self.machine.status, false).await;
            }
        }
    }
}

/// The sample, once it is there; `None` when it failed. Cancel safe.
pub(super) async fn sampled(sample: &mut Option<JoinHandle<Sample>>) -> Option<Sample> {
    match sample {
        Some(sample) => sample.await.ok(),
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
