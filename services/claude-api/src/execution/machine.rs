//! The state machine of a running execution, as a plain value without I/O. It holds the phase of
//! the run, its timers, and the status that follows from the CLI's output. [`super::phase`] defines
//! what each event does in each phase.

mod charges;
mod facts;
mod pause;
mod questions;
mod wait_state;
mod waits;

use std::time::{Duration, Instant};

use protocol::{Limits, State, Status};
use renderer::{Outcome, RunningTool};

use super::phase::{Input, Order, Phase, RunEnd, TimeLimit};
use super::progress::{TimerState, Timers};
use crate::credentials::Charges;
use crate::times::Times;
use wait_state::WaitState;

/// The state of a running execution: its phase, its timers and its status. It decides when and why
/// the run ends; the execution's task carries the decisions out.
#[derive(Debug)]
pub(crate) struct Machine {
    /// How far the run is, from the start of the runner to the end of the last process.
    phase: Phase,
    /// The time between SIGTERM and SIGKILL when the process tree is ended.
    kill_grace: Duration,
    /// The newest status, which may not be published yet.
    status: Status,
    /// Whether the status changed since it was last published.
    changed: bool,
    /// The running time, the idle timeout and the deadline.
    timers: Timers,
    /// The clock for timestamps in the status.
    times: Times,
    /// The last result that the CLI reported. `None` before the first one.
    outcome: Option<Outcome>,
    /// The last bytes of the CLI's stderr.
    stderr: Vec<u8>,
    /// The linger grace: how long the process tree may keep running after the CLI's last result.
    linger: Duration,
    /// The end of the linger grace. `None` while the CLI has reported no result since its last
    /// activity.
    linger_at: Option<Instant>,
    /// Whether the CLI's stdin is open, so that more messages or answers may follow.
    stdin_open: bool,
    /// Whether clients may send messages after the prompt. One of these may be unanswered, so such
    /// an execution never counts as answered.
    accepted_input: bool,
    /// The tools of the model that are running now.
    tools: Vec<StartedTool>,
    /// When the current pause began. `None` while the execution is not paused.
    paused: Option<Instant>,
    /// The time limit of a call of the CLI's Bash tool that names none.
    tool_limit: Duration,
    /// When the usage limit is reset, in Unix seconds. `None` if the CLI did not report it.
    resets_at: Option<i64>,
    /// The cost in the CLI's last result, in US dollars. `None` if it reported none.
    cli_cost_usd: Option<f64>,
    /// The charges of the CLI's grant, as last reported.
    charges: Charges,
    /// Whether the CLI has written any byte to stdout.
    has_output: bool,
    /// For whom or what the CLI waits. While it waits, the execution is neither stalled nor idle.
    waiting: WaitState,
    /// The activity that the CLI reported last. The status shows it unless a question is open.
    activity: Option<String>,
}

/// A running tool of the model, and when it was started.
#[derive(Debug)]
struct StartedTool {
    /// The tool's name, the id of its use, and the time limit that the call names.
    tool: RunningTool,
    /// When the CLI reported the start of the tool.
    since: Instant,
}

impl Machine {
    /// Creates the state of an execution whose runner is being started. `tool_limit` is the time
    /// limit of a Bash call that names none. `stdin_open` says whether the CLI's stdin stays open
    /// after the prompt, and `takes_input` whether clients may send more messages.
    pub(crate) fn new(
        status: Status,
        timers: Timers,
        times: Times,
        limits: &Limits,
        tool_limit: Duration,
        stdin_open: bool,
        takes_input: bool,
    ) -> Self {
        let activity = status.activity.clone();
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
            accepted_input: takes_input,
            tools: Vec::new(),
            paused: None,
            tool_limit,
            resets_at: None,
            cli_cost_usd: None,
            charges: Charges::default(),
            has_output: false,
            waiting: WaitState::default(),
            activity,
        }
    }

    /// Applies an event to the phase of the run. Returns the order that the caller must carry out;
    /// `None` if there is nothing to do.
    pub(crate) fn apply(&mut self, input: Input, now: Instant) -> Option<Order> {
        let phase = std::mem::replace(&mut self.phase, Phase::Starting);
        let (phase, order) = phase.step(input, now, self.kill_grace);
        self.phase = phase;
        order
    }

    /// Checks the time limits and updates `stalled` in the status. Returns the order to end the
    /// process tree if a limit has passed, otherwise `None`. Does nothing while the run is being
    /// ended.
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

    /// Returns when [`Machine::check_limits`] must be called again. `None` while the execution is
    /// paused or is being ended, because no limit can pass then.
    pub(crate) fn next_check(&self, now: Instant) -> Option<Instant> {
        if !self.phase.is_underway() {
            return None;
        }
        let timers = self.timers.next_check(now)?;
        let linger_at = self.linger_at.filter(|_| !self.stdin_open);
        Some(linger_at.map_or(timers, |at| timers.min(at.max(now))))
    }

    /// Returns when the runner must be killed unless it reports before; the caller then applies
    /// [`Input::Tick`]. `None` while no report is overdue.
    pub(crate) fn kill_runner_at(&self) -> Option<Instant> {
        self.phase.kill_runner_at()
    }

    /// Returns whether the CLI is being started or runs, and nothing has asked it to end.
    pub(crate) fn is_underway(&self) -> bool {
        self.phase.is_underway()
    }

    /// Returns whether the run is over, because the runner has made its last report or has died.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase.is_finished()
    }

    /// Returns whether the CPU time of the process tree should be measured now, because it would
    /// decide whether a silent execution makes progress.
    pub(crate) fn needs_cpu_sample(&self, now: Instant) -> bool {
        self.phase.is_underway() && self.timers.needs_cpu_sample(now)
    }

    /// Records that the process tree had used `used` of CPU time at the moment `at`. Enough CPU
    /// time since the last measurement counts as progress.
    pub(crate) fn cpu_sample(&mut self, at: Instant, used: Duration) {
        self.timers.cpu_sample(at, used);
    }

    /// Records that the CLI wrote to stdout, which counts as progress.
    pub(crate) fn output(&mut self, now: Instant) {
        self.timers.output(now);
        self.has_output = true;
    }

    /// Returns whether the CLI has written any byte to stdout.
    pub(crate) fn has_output(&self) -> bool {
        self.has_output
    }

    /// Records that the CLI's stdin was closed. A linger grace that is running starts again,
    /// because the client's last message may not be answered yet.
    pub(crate) fn stdin_closed(&mut self, now: Instant) {
        self.stdin_open = false;
        self.end_input_wait(now);
        self.linger_at = self.linger_at.map(|_| now + self.linger);
    }

    /// Returns whether the CLI's stdin is open, so that clients may send more messages.
    pub(crate) fn stdin_is_open(&self) -> bool {
        self.stdin_open
    }

    /// Adds a warning to the status. `code` is for programs, `message` for people, and `data` has
    /// details.
    pub(crate) fn warn(&mut self, code: &str, message: String, data: serde_json::Value) {
        self.status.warn(self.times.now(), code, message, data);
        self.changed = true;
    }

    /// Returns the newest status, which may not be published yet.
    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// Returns whether the status has changed since the last call of this function, so it must be
    /// published.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Returns whether the process tree is suspended by a pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.status.state == State::Paused
    }

    /// Returns how long the execution has been running, without pauses.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        self.timers.running_time(now)
    }

    /// Returns whether the CLI's last event is a result that answers everything. False if clients
    /// could send more messages, because one of these may be unanswered.
    pub(crate) fn has_answered(&self) -> bool {
        !self.accepted_input && self.linger_at.is_some()
    }

    /// Returns whether the CLI may have a request at the API of the model that is not answered,
    /// because its last event is no result.
    pub(crate) fn may_have_open_request(&self) -> bool {
        self.linger_at.is_none()
    }

    /// Returns the last bytes of stderr as text. Invalid UTF-8 is replaced.
    pub(crate) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns the facts for the verdict on a finished run: the last status, the CLI's last result
    /// (`None` if there was none), and the cause of the end.
    pub(crate) fn into_end(self) -> (Status, Option<Outcome>, RunEnd) {
        (self.status, self.outcome, self.phase.into_end())
    }
}

#[cfg(test)]
mod tests;
