//! A running execution without I/O: its phase, its clocks, and the status that follows from the
//! CLI's output. What each input does in each phase is in [`super::phase`].

mod facts;
mod pause;

use std::time::{Duration, Instant};

use protocol::{Limits, State, Status};
use renderer::{Outcome, RunningTool};

use super::phase::{Gone, Input, Order, Phase, TimeLimit};
use super::timers::{TimerState, Timers};
use crate::times::Times;

/// The state of a running execution.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    kill_grace: Duration,
    status: Status,
    /// The status is worth publishing.
    changed: bool,
    timers: Timers,
    /// The times of the warnings.
    times: Times,
    /// The last result.
    outcome: Option<Outcome>,
    /// The end of stderr.
    stderr: Vec<u8>,
    linger: Duration,
    /// When the grace after the last result ends.
    linger_at: Option<Instant>,
    stdin_open: bool,
    /// stdin was open at the start. A later message may be unanswered, so such an execution never
    /// counts as answered.
    accepted_input: bool,
    /// The tools that run now.
    tools: Vec<StartedTool>,
    /// Since when the tree stands still.
    paused: Option<Instant>,
    /// The time limit of a call of Bash that names none.
    tool_limit: Duration,
    /// When the usage limit is reset, in Unix seconds.
    resets_at: Option<i64>,
    has_output: bool,
}

/// A tool that runs now.
#[derive(Debug)]
struct StartedTool {
    tool: RunningTool,
    since: Instant,
}

impl Machine {
    /// The machine of an execution whose runner is being started.
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

    /// Follows an input, and returns what is to be done because of it.
    pub(crate) fn on(&mut self, input: Input, now: Instant) -> Option<Order> {
        let phase = std::mem::replace(&mut self.phase, Phase::Starting);
        let (phase, order) = phase.step(input, now, self.kill_grace);
        self.phase = phase;
        order
    }

    /// Looks at the time limits: shows a stall, and ends an execution whose limit has passed.
    pub(crate) fn judge(&mut self, now: Instant) -> Option<Order> {
        if !self.phase.is_underway() {
            return None;
        }
        let verdict = self.timers.verdict(now);
        let stalled = verdict == TimerState::Stalled || verdict == TimerState::Idle;
        if self.status.stalled != stalled {
            self.status.stalled = stalled;
            self.changed = true;
        }
        let lingers =
            !self.stdin_open && !self.is_paused() && self.linger_at.is_some_and(|at| now >= at);
        let expired = match verdict {
            // A result is in: a tree that stays silent behind it lingers, and is not idle.
            _ if lingers => TimeLimit::Linger,
            TimerState::Deadline => TimeLimit::Deadline,
            TimerState::Idle => TimeLimit::Idle,
            TimerState::Fine | TimerState::Stalled => return None,
        };
        self.on(Input::TimeLimitPassed(expired), now)
    }

    /// When [`Machine::judge`] is due again; never once the execution is being ended.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if !self.phase.is_underway() {
            return None;
        }
        let timers = self.timers.next(now)?;
        let linger_at = self.linger_at.filter(|_| !self.stdin_open);
        Some(linger_at.map_or(timers, |at| timers.min(at.max(now))))
    }

    /// When the runner is given up: [`Input::Tick`] is due then.
    pub(crate) fn kill_runner_at(&self) -> Option<Instant> {
        self.phase.kill_runner_at()
    }

    /// Whether none of the processes is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.phase.is_gone()
    }

    /// Whether a look at the CPU time of the tree may matter now.
    pub(crate) fn wants_cpu(&self, now: Instant) -> bool {
        self.phase.is_underway() && self.timers.wants_cpu(now)
    }

    /// Notes the CPU time that the tree had used at `at`.
    pub(crate) fn cpu(&mut self, at: Instant, used: Duration) {
        self.timers.cpu(at, used);
    }

    /// Notes that bytes came from stdout.
    pub(crate) fn output(&mut self, now: Instant) {
        self.timers.output(now);
        self.has_output = true;
    }

    /// Whether bytes ever came from stdout.
    pub(crate) fn has_output(&self) -> bool {
        self.has_output
    }

    /// Notes that nothing more comes on stdin. The linger grace begins now: what came last may not
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

    /// Whether the status is worth publishing since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.status.state == State::Paused
    }

    /// How long the execution has been running; pauses do not count.
    pub(crate) fn running(&self, now: Instant) -> Duration {
        self.timers.running(now)
    }

    /// When the usage limit is reset, in Unix seconds, if the CLI said so.
    pub(crate) fn resets_at(&self) -> Option<i64> {
        self.resets_at
    }

    /// Whether the last result is in, nothing began behind it, and nothing else was asked.
    pub(crate) fn has_answered(&self) -> bool {
        !self.accepted_input && self.linger_at.is_some()
    }

    /// The end of stderr as text.
    pub(crate) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// What the verdict needs: the last status, the last result, and how the run ended.
    pub(crate) fn into_end(self) -> (Status, Option<Outcome>, Gone) {
        (self.status, self.outcome, self.phase.gone())
    }
}

#[cfg(test)]
mod tests;
