//! What clients ask of a running execution, and what its runner reports.

use std::time::{Duration, Instant};

use runner::{Action, Event};

use super::running::Running;
use crate::execution::verdict::EndedBy;
use crate::registry::record::CliProcess;

/// How long after the kill grace the runner may take for its sweep before it is killed itself.
const RUNNER_GRACE: Duration = Duration::from_secs(4);
/// A runner answers every command at once; one that was stopped does not, and is killed after this.
const RUNNER_ANSWER: Duration = Duration::from_millis(500);

impl Running<'_> {
    /// Follows the newest wish. Its command is on its way already ([`crate::execution::wish`]).
    pub(super) fn follow_wish(&mut self) {
        self.owner.wishes.resend();
        // Not only when it has changed: the branch that wakes the loop has seen the change.
        let wish = *self.wish.borrow_and_update();
        if self.machine.end_wished(wish.end) {
            self.expect_answer();
        }
    }

    /// Sets the deadline for the runner's answer; a runner that misses it is given up.
    pub(super) fn expect_answer(&mut self) {
        self.give_up = Some(Instant::now() + RUNNER_ANSWER);
    }

    /// True when nothing of the execution is left.
    pub(super) async fn event(&mut self, event: Option<Event>) -> bool {
        let now = Instant::now();
        match event {
            Some(Event::Spawned {
                pid,
                start_ticks,
                boot_id,
            }) => {
                self.spawned = true;
                self.owner.engine.readiness.spawned();
                self.owner.cli = Some(CliProcess {
                    pid,
                    start_ticks,
                    boot_id,
                });
                // Records the CLI's pid.
                self.status_due = true;
            }
            Some(Event::SpawnFailed { message }) => {
                self.spawn_failed = Some(message);
                self.follow_wish();
                self.machine.exited();
                return true;
            }
            Some(Event::Signalled { action }) => {
                self.owner.wishes.signalled(action);
                if action == Action::Terminate {
                    // The command's wish may be newer than the last check.
                    self.follow_wish();
                    self.machine.terminated();
                    let grace = Duration::from_millis(self.owner.engine.settings.limits.kill_ms);
                    self.give_up = Some(now + grace + RUNNER_GRACE);
                }
            }
            Some(Event::Paused { .. }) => self.machine.paused(now),
            Some(Event::Resumed) => self.machine.resumed(now),
            Some(Event::Exited { code, signal }) => {
                self.exit = (code, signal);
                // Before the exit counts: a wish whose signal came first is the cause.
                self.follow_wish();
                self.machine.exited();
                self.owner.wishes.exited();
                // From here on it only sweeps, and answers no more.
                self.give_up = Some(now + 2 * RUNNER_GRACE);
            }
            Some(Event::Done {
                code,
                signal,
                unkillable,
                ..
            }) => {
                self.exit = (code, signal);
                self.unkillable = unkillable;
                return true;
            }
            // Only a silent runner is given up, not a busy one.
            Some(Event::Sweeping { left }) => {
                let id = &self.machine.status.execution_id;
                tracing::info!(execution = %id, left, "still killing processes");
                self.give_up = Some(now + 2 * RUNNER_GRACE);
            }
            Some(Event::Failed { message }) => self.runner_failure = Some(message),
            Some(Event::Warning { code, message }) => {
                self.machine.warn(&code, message, serde_json::Value::Null)
            }
            None => {
                let how = match self.runner_failure.take() {
                    Some(message) => format!("{message} ({})", self.events.runner_end()),
                    None => self.events.runner_end(),
                };
                let id = &self.machine.status.execution_id;
                tracing::warn!(execution = %id, how, "the runner died");
                self.runner_failure = Some(how);
                // How the CLI ended by itself is known, and stays, when its runner dies at the sweep.
                if self.machine.by == EndedBy::Itself && !self.machine.has_exited() {
                    self.machine.by = EndedBy::RunnerDeath;
                }
                self.unkillable = self.owner.engine.runners.sweep_orphans().await;
                return true;
            }
        }
        false
    }
}
