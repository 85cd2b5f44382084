//! What is known of a running execution and what follows from each event, without I/O.

use std::time::{Duration, Instant};

use protocol::status::{DENIALS, STDERR_TAIL_BYTES};
use protocol::{Limits, State, Status};
use renderer::{Activity, Fact, Outcome, RunningTool};
use serde_json::json;

use super::lost::Lost;
use super::policy::was_asked;
use super::timers::{Timers, Verdict};
use super::verdict::EndedBy;
use super::wish::EndWish;
use crate::times::Times;
use crate::times::millis;

/// The longest name of the CLI's that a status shows, characters.
const NAME_CHARS: usize = 128;

/// The warning of a full disk.
const DISK_FULL: &str = "disk_full";

/// The warning of a lost event.
const EVENT_LOST: &str = "event_lost";

/// What the owner has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// End the tree: TERM, then KILL after the grace.
    Terminate,
}

/// See the module. `changed` says that the status is worth publishing.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) status: Status,
    pub(crate) timers: Timers,
    /// The times of the warnings.
    pub(crate) times: Times,
    pub(crate) changed: bool,
    pub(crate) by: EndedBy,
    outcome: Option<Outcome>,
    stderr: Vec<u8>,
    linger: Duration,
    linger_at: Option<Instant>,
    pub(crate) stdin_open: bool,
    /// Messages came, or may have, that its last result does not answer.
    takes_input: bool,
    /// The runner has sent TERM to the tree, before the CLI was reaped.
    terminated: bool,
    exited: bool,
    /// With the time since when each runs.
    tools: Vec<(RunningTool, Instant)>,
    paused: Option<Instant>,
    /// Of a call of Bash that asks for none.
    tool_limit: Duration,
    resets_at: Option<i64>,
    pub(crate) first_output: bool,
}

impl Machine {
    pub(crate) fn new(
        status: Status,
        timers: Timers,
        limits: &Limits,
        tool_limit: Duration,
        stdin_open: bool,
    ) -> Self {
        Self {
            times: Times::following(&status),
            status,
            timers,
            changed: true,
            by: EndedBy::Itself,
            outcome: None,
            stderr: Vec::new(),
            linger: Duration::from_millis(limits.linger_ms),
            linger_at: None,
            stdin_open,
            takes_input: stdin_open,
            terminated: false,
            exited: false,
            tools: Vec::new(),
            paused: None,
            tool_limit,
            resets_at: None,
            first_output: false,
        }
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    pub(crate) fn resets_at(&self) -> Option<i64> {
        self.resets_at
    }

    /// The last result is in, nothing began behind it, and nothing else was asked.
    pub(crate) fn has_answered(&self) -> bool {
        !self.takes_input && self.linger_at.is_some()
    }

    /// The end of stderr as text.
    pub(crate) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    pub(crate) fn warn(&mut self, code: &str, message: String, data: serde_json::Value) {
        self.status.warn(self.times.now(), code, message, data);
        self.changed = true;
    }

    /// The disk is full. Said once, with what was lost so far: every chunk may meet it, and the list is short.
    pub(crate) fn disk_full(&mut self, lost: Lost) {
        let Lost { output, events } = lost;
        let data = json!({ "lostBytes": output, "lostEventsBytes": events });
        let mut warnings = self.status.warnings.iter_mut();
        if let Some(told) = warnings.find(|warning| warning.code == DISK_FULL) {
            told.data = data;
            return;
        }
        self.warn(
            DISK_FULL,
            "the disk is full: the oldest output and the events are freed, and what cannot be written is gone".to_owned(),
            data,
        );
    }

    /// Notes an event of the CLI that could not be read. One warning counts all of them, because
    /// the list of warnings is short.
    fn event_lost(&mut self) {
        let mut warnings = self.status.warnings.iter_mut();
        if let Some(warning) = warnings.find(|warning| warning.code == EVENT_LOST) {
            let count = warning.data["events"].as_u64().unwrap_or_default() + 1;
            warning.data = json!({ "events": count });
            return;
        }
        self.warn(
            EVENT_LOST,
            "an event of the CLI was damaged, too long or of an unknown form, and is lost: the answer may lack \
             text; /events has every byte"
                .to_owned(),
            json!({ "events": 1 }),
        );
    }

    /// Bytes came from stdout.
    pub(crate) fn output(&mut self, now: Instant) {
        self.timers.output(now);
        self.first_output = true;
    }

    /// Bytes came from stderr; only the tail is kept.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_TAIL_BYTES)..];
        self.stderr.extend_from_slice(bytes);
        let excess = self.stderr.len().saturating_sub(STDERR_TAIL_BYTES);
        self.stderr.drain(..excess);
    }

    /// The renderer saw something.
    pub(crate) fn fact(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Init { model, .. } => {
                self.linger_at = None;
                if let Some(model) = model.map(|m| short(&m)) {
                    self.changed |= self.status.model.as_ref() != Some(&model);
                    self.status.model = Some(model);
                }
            }
            // Another `init` is no start of the CLI: that the model was asked stays seen.
            Fact::Activity(Activity::Starting) if was_asked(&self.status) => {}
            Fact::Activity(activity) => {
                // A retry says nothing of more to come; the rest begins another result.
                if !matches!(activity, Activity::Retrying(_) | Activity::Starting) {
                    self.linger_at = None;
                }
                self.activity(&activity);
            }
            Fact::ToolsRunning(tools) => {
                self.timers.tools(now, !tools.is_empty());
                let before = std::mem::take(&mut self.tools);
                let since = |tool: &RunningTool| {
                    let known = before.iter().find(|(other, _)| other.id == tool.id);
                    known.map_or(now, |(_, since)| *since)
                };
                self.tools = tools
                    .into_iter()
                    .map(|tool| {
                        let since = since(&tool);
                        (tool, since)
                    })
                    .collect();
            }
            Fact::Retry { .. } => {}
            Fact::Restart => self.status.restarts += 1,
            Fact::Noise { lines } => self.status.noise_lines += lines,
            Fact::EventLost => self.event_lost(),
            Fact::ToolDenied { denial } => self.denied(denial),
            Fact::HookFailed { message } => {
                self.warn("hook_failed", message, serde_json::Value::Null)
            }
            // Also told of a login that works; it matters once the usage limit ends the execution.
            Fact::RateLimit { resets_at, .. } => self.resets_at = resets_at.or(self.resets_at),
            Fact::Result(outcome) => self.result(*outcome, now),
        }
    }

    /// The result lists again what its events told, with more detail: the later word on a tool use counts.
    fn denied(&mut self, denial: serde_json::Value) {
        let list = &mut self.status.permission_denials;
        let id = denial.get("tool_use_id").filter(|id| id.is_string());
        let known = list
            .iter()
            .position(|d| id.is_some() && d.get("tool_use_id") == id);
        match known {
            Some(at) => list[at] = denial,
            None if list.len() < DENIALS => list.push(denial),
            None => {}
        }
        self.changed = true;
    }

    fn activity(&mut self, activity: &Activity) {
        let text = Some(short(&activity.to_string()));
        self.changed |= self.status.activity != text;
        self.status.activity = text;
    }

    fn result(&mut self, outcome: Outcome, now: Instant) {
        for denial in &outcome.permission_denials {
            self.denied(denial.clone());
        }
        self.status.usage = outcome.usage.clone().or(self.status.usage.take());
        self.status.cost_usd = outcome.cost_usd.or(self.status.cost_usd);
        self.resets_at = outcome.resets_at.or(self.resets_at);
        self.outcome = Some(outcome);
        if self.stdin_open {
            // It waits for a client.
            self.status.activity = None;
        }
        self.changed = true;
        self.linger_at = Some(now + self.linger);
    }

    /// Nothing more comes on stdin. The grace begins now: what came last may not be answered yet.
    pub(crate) fn stdin_closed(&mut self, now: Instant) {
        self.stdin_open = false;
        self.linger_at = self.linger_at.map(|_| now + self.linger);
    }

    /// Follows a wish to end. Returns true when the tree is to be ended because of it: not when TERM
    /// was sent before, as the runner then answers nothing more.
    ///
    /// A client's cancel overrides every other cause until the terminal state. The service's stop
    /// overrides none: neither a cause that is there already, nor the exit of a CLI that ended on
    /// its own.
    pub(crate) fn end_wished(&mut self, end: Option<EndWish>) -> bool {
        match end {
            Some(EndWish::Cancel) if self.by != EndedBy::Cancel => self.by = EndedBy::Cancel,
            Some(EndWish::Stop) if self.by == EndedBy::Itself && !self.exited => {
                self.by = EndedBy::Stop;
            }
            Some(EndWish::Cancel | EndWish::Stop) | None => return false,
        }
        !self.exited && !self.terminated
    }

    /// Notes that the runner has sent TERM to the tree.
    pub(crate) fn terminated(&mut self) {
        self.terminated = true;
    }

    /// Notes that the CLI was reaped and its tree is being swept. No deadline changes the cause
    /// from here on. A CLI that was reaped before claude-api's TERM ended on its own, and only a
    /// cancel overrides that.
    pub(crate) fn exited(&mut self) {
        self.exited = true;
        if !self.terminated && self.by != EndedBy::Cancel {
            self.by = EndedBy::Itself;
        }
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exited
    }

    /// The tree stands still.
    pub(crate) fn paused(&mut self, now: Instant) {
        if self.status.state == State::Running {
            self.status.state = State::Paused;
            self.timers.pause(now);
            self.paused = Some(now);
            self.changed = true;
        }
    }

    /// The tree goes on.
    pub(crate) fn resumed(&mut self, now: Instant) {
        if self.status.state != State::Paused {
            return;
        }
        self.status.state = State::Running;
        self.timers.resume(now);
        self.changed = true;
        let Some(since) = self.paused.take() else {
            return;
        };
        let stood = now.saturating_duration_since(since);
        self.linger_at = self.linger_at.map(|at| at + stood);
        for (tool, limit) in self.passed(since, now) {
            self.warn(
                "tool_time_limit_passed",
                format!(
                    "the time limit of {tool}, {} s, passed in the pause of {} s: the CLI will report it as timed out though it may \
                     have finished",
                    limit.as_secs(),
                    stood.as_secs()
                ),
                json!({ "tool": tool, "pausedMs": millis(stood), "limitMs": millis(limit) }),
            );
        }
    }

    /// The tools whose time limit passed between two moments, and the limit: the CLI's clock for them goes on while it stands. Of its
    /// own tools only Bash has one.
    fn passed(&self, from: Instant, to: Instant) -> Vec<(String, Duration)> {
        let passed = |(tool, since): &(RunningTool, Instant)| {
            let limit = tool
                .timeout_ms
                .map_or(self.tool_limit, Duration::from_millis);
            let ran = |at: Instant| at.saturating_duration_since(*since);
            let bash = tool.name == "Bash";
            (bash && ran(from) < limit && ran(to) >= limit).then(|| (tool.name.clone(), limit))
        };
        self.tools.iter().filter_map(passed).collect()
    }

    /// Looks at the clock.
    pub(crate) fn check(&mut self, now: Instant) -> Due {
        if self.by != EndedBy::Itself || self.exited {
            return Due::Nothing;
        }
        let verdict = self.timers.verdict(now);
        let stalled = verdict == Verdict::Stalled || verdict == Verdict::Idle;
        if self.status.stalled != stalled {
            self.status.stalled = stalled;
            self.changed = true;
        }
        let lingers = !self.stdin_open
            && self.status.state == State::Running
            && self.linger_at.is_some_and(|at| now >= at);
        self.by = match verdict {
            // A result is in: what stands still behind it is a lingerer, not an idle run.
            _ if lingers => EndedBy::Linger,
            Verdict::Deadline => EndedBy::Deadline,
            Verdict::Idle => EndedBy::Idle,
            Verdict::Fine | Verdict::Stalled => return Due::Nothing,
        };
        Due::Terminate
    }

    /// When to look again; never while it is being ended.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if self.by != EndedBy::Itself || self.exited {
            return None;
        }
        let timers = self.timers.next(now)?;
        Some(
            self.linger_at
                .filter(|_| !self.stdin_open)
                .map_or(timers, |at| timers.min(at.max(now))),
        )
    }
}

/// What the CLI calls a model or a tool, as long as a status can carry.
fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS).collect()
}

#[cfg(test)]
mod tests;
