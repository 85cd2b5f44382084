//! The state machine of a running execution, without I/O: its phase, its timers, and the status
//! that follows from the CLI's output. [`super::phase`] defines the effect of each input in each
//! phase.

mod facts;
mod pause;

use std::time::{Duration, Instant};

use protocol::{Limits, State, Status};
use renderer::{Outcome, RunningTool};

use super::phase::{Input, Order, Phase, RunEnd, TimeLimit};
use super::progress::{TimerState, Timers};
use crate::times::Times;

/// The state of a running execution: its phase, its timers and its status. It decides when and why
/// the run ends; the owner's loop carries that out.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    kill_grace: Duration,
    status: Status,
    /// Whether the status changed since it was last published.
    changed: bool,
    timers: Timers,
    /// The clock for the times of warnings.
    times: Times,
    /// The last result that the CLI reported.
    outcome: Option<Outcome>,
    /// The tail of stderr.
    stderr: Vec<u8>,
    /// The linger grace: how long the tree may run after the last result.
    linger: Duration,
    /// The end of the linger grace; `None` while no result is the last event.
    linger_at: Option<Instant>,
    stdin_open: bool,
    /// Whether stdin was open at the start. A later message may be unanswered, so such an execution
    /// never counts as answered.
    accepted_input: bool,
    /// The tools that run now.
    tools: Vec<StartedTool>,
    /// The start of the present pause.
    paused: Option<Instant>,
    /// The time limit of a Bash call that sets none.
    tool_limit: Duration,
    /// The time at which the usage limit is reset, in Unix seconds.
    resets_at: Option<i64>,
    has_output: bool,
}

/// A running tool and the time of its start.
#[derive(Debug)]
struct StartedTool {
    tool: RunningTool,
    since: Instant,
}

impl Machine {
    /// Creates the machine of an execution whose runner is being started.
    pub(crate) fn new(
        status: Status,
        timers: Timers,
        times: Times,
        limits: &Limits,
        tool_limit: Duration,
        stdin_open: bool,
    ) -> Self {
        Self {
            phase: Phase::Starting,
            kill_grace: Duration::from_millis(limits.kill_ms),
            status,
            changed: true,
            timers,
            times,
            outcome: None,
            stderr: Vec::new(),
            linger: Duration::from_millis(limits.linger_ms),
            linger_at: None,
            stdin_open,
            accepted_input: stdin_open,
            tools: Vec::new(),
            paused: None,
            tool_limit,
            resets_at: None,
            has_output: false,
        }
    }

    /// Applies an event of the run to the phase, and returns the order that the caller must carry
    /// out.
    pub(crate) fn apply(&mut self, input: Input, now: Instant) -> Option<Order> {
        let phase = std::mem::replace(&mut self.phase, Phase::Starting);
        let (phase, order) = phase.step(input, now, self.kill_grace);
        self.phase = phase;
        order
    }

    /// Checks the time limits. Updates `stalled` in the status. Returns the order to end the
    /// process tree if a limit has passed.
    pub(crate) fn check_limits(&mut self, now: Instant) -> Option<Order> {
        if !self.phase.is_underway() {
            return None;
        }
        let timers = self.timers.state(now);
        let stalled = timers == TimerState::Stalled || timers == TimerState::Idle;
        if self.status.stalled != stalled {
            self.status.stalled = stalled;
            self.changed = true;
        }
        let lingers =
            !self.stdin_open && !self.is_paused() && self.linger_at.is_some_and(|at| now >= at);
        let passed = match timers {
            // A tree that is silent after a result lingers, and is not idle.
            _ if lingers => TimeLimit::Linger,
            TimerState::Deadline => TimeLimit::Deadline,
            TimerState::Idle => TimeLimit::Idle,
            TimerState::Progressing | TimerState::Stalled => return None,
        };
        self.apply(Input::TimeLimitPassed(passed), now)
    }

    /// Returns when [`Machine::check_limits`] is due again; `None` while the execution is paused or
    /// being ended.
    pub(crate) fn next_check(&self, now: Instant) -> Option<Instant> {
        if !self.phase.is_underway() {
            return None;
        }
        let timers = self.timers.next_check(now)?;
        let linger_at = self.linger_at.filter(|_| !self.stdin_open);
        Some(linger_at.map_or(timers, |at| timers.min(at.max(now))))
    }

    /// Returns when a runner that does not report is killed. [`Input::Tick`] is due then.
    pub(crate) fn kill_runner_at(&self) -> Option<Instant> {
        self.phase.kill_runner_at()
    }

    /// Returns whether no process of the run is left.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase.is_finished()
    }

    /// Returns whether a sample of the tree's CPU time could change the timers now.
    pub(crate) fn needs_cpu_sample(&self, now: Instant) -> bool {
        self.phase.is_underway() && self.timers.needs_cpu_sample(now)
    }

    /// Notes the CPU time that the process tree had used at `at`, which may show progress.
    pub(crate) fn cpu_sample(&mut self, at: Instant, used: Duration) {
        self.timers.cpu_sample(at, used);
    }

    /// Notes that bytes arrived on stdout, which is progress.
    pub(crate) fn output(&mut self, now: Instant) {
        self.timers.output(now);
        self.has_output = true;
    }

    /// Returns whether any bytes arrived on stdout.
    pub(crate) fn has_output(&self) -> bool {
        self.has_output
    }

    /// Notes that stdin is closed. The linger grace starts anew, because the last message may not
    /// be answered yet.
    pub(crate) fn stdin_closed(&mut self, now: Instant) {
        self.stdin_open = false;
        self.linger_at = self.linger_at.map(|_| now + self.linger);
    }

    pub(crate) fn stdin_is_open(&self) -> bool {
        self.stdin_open
    }

    /// Adds a warning to the status.
    pub(crate) fn warn(&mut self, code: &str, message: String, data: serde_json::Value) {
        self.status.warn(self.times.now(), code, message, data);
        self.changed = true;
    }

    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// Returns whether the status changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.status.state == State::Paused
    }

    /// Returns how long the execution has been running. Pauses do not count.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        self.timers.running_time(now)
    }

    /// Returns when the usage limit is reset, in Unix seconds, if the CLI reported it.
    pub(crate) fn resets_at(&self) -> Option<i64> {
        self.resets_at
    }

    /// Returns whether the last event of the CLI is a result, and no later input could still wait
    /// for an answer.
    pub(crate) fn has_answered(&self) -> bool {
        !self.accepted_input && self.linger_at.is_some()
    }

    /// Returns the tail of stderr as text.
    pub(crate) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns the facts for the verdict: the last status, the last result of the CLI, and the end
    /// of the run.
    pub(crate) fn into_end(self) -> (Status, Option<Outcome>, RunEnd) {
        (self.status, self.outcome, self.phase.into_end())
    }
}

#[cfg(test)]
mod tests;
