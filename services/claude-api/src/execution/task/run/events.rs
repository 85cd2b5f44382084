//! What clients ask of a running execution, and what its runner reports, as inputs of its machine.

use std::time::Instant;

use runner::{Action, Event};

use super::running::Running;
use crate::execution::phase::Input;
use crate::execution::verdict::Exit;
use crate::registry::record::CliProcess;

impl Running<'_> {
    /// Follows the newest wish. Its command is on its way already ([`crate::execution::wish`]).
    pub(super) fn follow_wish(&mut self, now: Instant) {
        self.owner.wishes.resend();
        // Not only when it has changed: the branch that wakes the loop has seen the change.
        let wish = *self.wish.borrow_and_update();
        self.input(Input::Wished(wish.end), now);
    }

    /// Tells the machine, and does what it orders.
    pub(super) fn input(&mut self, input: Input, now: Instant) {
        let order = self.machine.on(input, now);
        self.obey(order);
    }

    /// Follows a report of the runner; `None` when the runner died.
    pub(super) async fn event(&mut self, event: Option<Event>) {
        let Some(event) = event else {
            self.runner_died().await;
            return;
        };
        let now = Instant::now();
        match event {
            Event::Spawned {
                pid,
                start_ticks,
                boot_id,
            } => {
                self.owner.engine.readiness.spawned();
                self.owner.cli = Some(CliProcess {
                    pid,
                    start_ticks,
                    boot_id,
                });
                // Records the CLI's pid.
                self.status_due = true;
                self.input(Input::Spawned, now);
            }
            Event::SpawnFailed { message } => {
                self.follow_wish(now);
                self.input(Input::SpawnFailed(message), now);
            }
            Event::Signalled { action } => {
                self.owner.wishes.signalled(action);
                if action == Action::Terminate {
                    // The command's wish may be newer than the last check.
                    self.follow_wish(now);
                    self.input(Input::TermSent, now);
                }
            }
            Event::Paused { .. } => self.machine.paused(now),
            Event::Resumed => self.machine.resumed(now),
            Event::Exited { code, signal } => {
                // Before the exit counts: a wish whose signal came first is the cause.
                self.follow_wish(now);
                self.input(Input::Exited(Exit::reaped(code, signal)), now);
                self.owner.wishes.exited();
            }
            Event::Done {
                code,
                signal,
                unkillable,
                ..
            } => {
                self.unkillable = unkillable;
                self.input(Input::Done(Exit::reaped(code, signal)), now);
            }
            Event::Sweeping { left } => {
                let id = &self.machine.status().execution_id;
                tracing::info!(execution = %id, left, "still killing processes");
                self.input(Input::StillSweeping, now);
            }
            Event::Failed { message } => self.runner_failure = Some(message),
            Event::Warning { code, message } => {
                self.machine.warn(&code, message, serde_json::Value::Null);
            }
        }
    }

    /// Notes why the runner died, and kills what it left.
    async fn runner_died(&mut self) {
        let how = match self.runner_failure.take() {
            Some(message) => format!("{message} ({})", self.events.runner_end()),
            None => self.events.runner_end(),
        };
        let id = &self.machine.status().execution_id;
        tracing::warn!(execution = %id, how, "the runner died");
        self.runner_failure = Some(how);
        self.input(Input::RunnerDied, Instant::now());
        self.unkillable = self.owner.engine.runners.sweep_orphans().await;
    }
}
