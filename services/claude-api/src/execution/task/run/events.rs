//! What clients ask of a running execution, and what its runner reports.

use std::time::{Duration, Instant};

use runner::{Action, Event};

use super::Running;
use crate::execution::accepted::CliProcess;
use crate::execution::live::{Control, Request};
use crate::execution::verdict::EndedBy;

/// How long after the kill grace the runner may take for its sweep before it is killed itself.
const RUNNER_GRACE: Duration = Duration::from_secs(4);
/// A runner answers every command at once; one that was stopped does not, and is killed after this.
const RUNNER_ANSWER: Duration = Duration::from_millis(500);

impl Running<'_> {
    pub(super) fn request(&mut self, request: Request) {
        let Request { control, answer } = request;
        match control {
            // A tree that is being ended is not stopped on its way out. A repeated one is the runner's to tell: the state lags
            // behind a resume that was answered.
            Control::Pause if self.machine.by == EndedBy::Itself => self.control.pause(),
            Control::Resume if self.machine.by == EndedBy::Itself => self.control.resume(),
            Control::Cancel if self.machine.by != EndedBy::Cancel => {
                self.machine.by = EndedBy::Cancel;
                self.terminate();
            }
            Control::Stop if self.machine.by == EndedBy::Itself => {
                self.machine.by = EndedBy::Stop;
                self.terminate();
            }
            Control::Pause | Control::Resume | Control::Cancel | Control::Stop => {
                let _ = answer.send(Ok(()));
                return;
            }
        }
        self.answers.push(answer);
    }

    pub(super) fn terminate(&mut self) {
        let grace = Duration::from_millis(self.owner.service.settings.limits.kill_ms);
        self.control.terminate(grace);
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
                self.owner.service.readiness.spawned();
                self.owner.cli = Some(CliProcess {
                    pid,
                    start_ticks,
                    boot_id,
                });
                if let Err(error) = self.owner.record(&self.machine.status, false).await {
                    tracing::warn!(%error, "the spool did not take the CLI's pid");
                }
            }
            Some(Event::SpawnFailed { message }) => {
                self.spawn_failed = Some(message);
                return true;
            }
            Some(Event::Signalled { action }) => {
                if action == Action::Terminate && self.give_up.is_some() {
                    let grace = Duration::from_millis(self.owner.service.settings.limits.kill_ms);
                    self.give_up = Some(now + grace + RUNNER_GRACE);
                }
                self.answer();
            }
            Some(Event::Paused { .. }) => self.machine.paused(now),
            Some(Event::Resumed) => self.machine.resumed(now),
            Some(Event::Exited { code, signal }) => {
                self.exit = (code, signal);
                self.machine.exited();
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
            // A busy runner is not given up: only one that says nothing is.
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
                self.unkillable = self.owner.service.runners.sweep_orphans().await;
                return true;
            }
        }
        false
    }

    pub(super) fn answer(&mut self) {
        for answer in self.answers.drain(..) {
            let _ = answer.send(Ok(()));
        }
    }
}
