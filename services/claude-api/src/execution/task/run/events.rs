//! Turns commands of clients and reports of the runner into events of the execution's state
//! machine.

use std::time::Instant;

use runner::{Action, Event};

use super::running::Running;
use crate::execution::phase::Input;
use crate::execution::verdict::Exit;
use crate::registry::record::CliProcess;

impl Running<'_> {
    /// Applies the newest wish (all commands of clients, merged) to the state machine. The command
    /// for it was already sent to the runner by the client's request ([`crate::execution::wish`]).
    /// If the runner's socket was full, it is sent again here.
    pub(super) fn follow_wish(&mut self, now: Instant) {
        self.owner.wishes.resend();
        // Applied even if the wish looks unchanged: the branch that wakes the loop has already
        // marked a change as seen.
        let wish = *self.wish.borrow_and_update();
        self.input(Input::Wished(wish.end), now);
    }

    /// Applies an event of the run to the state machine, and carries out the order that follows.
    pub(super) fn input(&mut self, input: Input, now: Instant) {
        let order = self.machine.apply(input, now);
        self.obey(order);
    }

    /// Handles one report of the runner. `None` means that the runner died; the processes that it
    /// left are then killed.
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
                // The status on disk gets the CLI's pid.
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
                    // The wish behind the command may be newer than the last one that was applied.
                    self.follow_wish(now);
                    self.input(Input::TermSent, now);
                }
            }
            Event::Paused { .. } => self.machine.paused(now),
            Event::Resumed => {
                let pause = self.machine.resumed(now);
                if let Some(questions) = &self.owner.questions {
                    questions.delay(pause);
                }
            }
            Event::Exited { code, signal } => {
                // The wish is applied before the exit: a wish whose signal was sent first is the
                // cause.
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
                tracing::info!(
                    execution = %id,
                    left,
                    "still killing the processes that a CLI left; its execution ends after them"
                );
                self.input(Input::StillSweeping, now);
            }
            Event::Failed { message } => self.runner_failure = Some(message),
            Event::Warning { code, message } => {
                self.machine.warn(&code, message, serde_json::Value::Null);
            }
        }
    }

    /// Records why the runner died, and kills the processes that it left.
    async fn runner_died(&mut self) {
        let reason = match self.runner_failure.take() {
            Some(message) => format!("{message} ({})", self.events.runner_end()),
            None => self.events.runner_end(),
        };
        let id = &self.machine.status().execution_id;
        tracing::warn!(
            execution = %id,
            reason,
            "the runner of an execution died; killing the processes that it left"
        );
        self.runner_failure = Some(reason);
        self.input(Input::RunnerDied, Instant::now());
        self.unkillable = self.owner.engine.runners.sweep_orphans().await;
    }
}
