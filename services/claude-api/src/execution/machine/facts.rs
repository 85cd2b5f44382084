//! How the CLI's output changes the status: model, activity, tools, warnings, usage and result.

use std::time::Instant;

use protocol::status::{MAX_DENIALS, STDERR_TAIL_BYTES};
use renderer::{Activity, Fact, Outcome, RunningTool};
use serde_json::json;

use super::{Machine, StartedTool};
use crate::execution::lost::Lost;
use crate::execution::policy::was_asked;

/// The maximum length in characters of a name from the CLI, such as the model's, in a status.
const NAME_CHARS: usize = 128;

/// The code of the warning that the disk is full and output is lost.
const DISK_FULL: &str = "disk_full";

/// The code of the warning that changes of the permissions were left out.
const UPDATE_DROPPED: &str = "permission_update_dropped";

/// The code of the warning that an event of the CLI could not be read.
const EVENT_LOST: &str = "event_lost";

impl Machine {
    /// Adds the warning `disk_full` with the number of lost bytes so far. A later call only updates
    /// the numbers, because every chunk may find the disk full and the list of warnings is short.
    pub(crate) fn disk_full(&mut self, lost: Lost) {
        let Lost { output, events } = lost;
        let data = json!({ "lostBytes": output, "lostEventsBytes": events });
        let mut warnings = self.status.warnings.iter_mut();
        if let Some(warning) = warnings.find(|warning| warning.code == DISK_FULL) {
            warning.data = data;
            return;
        }
        self.warn(
            DISK_FULL,
            "the disk is full: the oldest output and the events are freed, and bytes that cannot \
             be written are lost"
                .to_owned(),
            data,
        );
    }

    /// Adds the warning that changes of the permissions were left out of a client's responses. A
    /// later call only updates their number.
    pub(crate) fn permission_updates_dropped(&mut self, updates: u64) {
        let data = json!({ "updates": updates });
        let mut warnings = self.status.warnings.iter_mut();
        if let Some(warning) = warnings.find(|warning| warning.code == UPDATE_DROPPED) {
            warning.data = data;
            return;
        }
        self.warn(
            UPDATE_DROPPED,
            "a client's change of the permissions was left out: only rules within the operator's \
             ceiling are kept, until the end of the execution"
                .to_owned(),
            data,
        );
    }

    /// Records an event of the CLI that could not be read. One warning counts all of them, because
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
            "an event of the CLI was damaged, too long or of an unknown form, and is lost: the \
             answer may lack text; /events has every byte"
                .to_owned(),
            json!({ "events": 1 }),
        );
    }

    /// Appends bytes of the CLI's stderr. Only the last bytes are kept, for the status.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_TAIL_BYTES)..];
        self.stderr.extend_from_slice(bytes);
        let excess = self.stderr.len().saturating_sub(STDERR_TAIL_BYTES);
        self.stderr.drain(..excess);
    }

    /// Updates the status and the timers for one fact, such as a new activity or a result, that the
    /// renderer found in the CLI's output.
    pub(crate) fn fact(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Init { model, .. } => {
                self.linger_at = None;
                if let Some(model) = model.map(|m| short(&m)) {
                    self.changed |= self.status.model.as_ref() != Some(&model);
                    self.status.model = Some(model);
                }
            }
            // A later `init` is no start of the CLI: the activity must not hide that the model was
            // asked.
            Fact::Activity(Activity::Starting) if was_asked(&self.status) => {}
            Fact::Activity(activity) => {
                // A retry or a start may follow a result; any other activity begins the next one.
                if !matches!(activity, Activity::Retrying(_) | Activity::Starting) {
                    self.linger_at = None;
                }
                self.activity(&activity);
            }
            Fact::ToolsRunning(tools) => {
                self.timers
                    .tools(now, self.waiting.is_any() || !tools.is_empty());
                let previous = std::mem::take(&mut self.tools);
                let started = |tool: RunningTool| {
                    let known = previous.iter().find(|known| known.tool.id == tool.id);
                    let since = known.map_or(now, |known| known.since);
                    StartedTool { tool, since }
                };
                self.tools = tools.into_iter().map(started).collect();
            }
            Fact::Retry { .. } => {}
            Fact::Restart => self.status.restarts += 1,
            Fact::Noise { lines } => self.status.noise_lines += lines,
            Fact::EventLost => self.event_lost(),
            Fact::ToolDenied { denial } => self.denied(denial),
            // The execution's task handles them: questions are on disk before they are shown.
            Fact::ControlRequested { .. }
            | Fact::ControlWithdrawn { .. }
            | Fact::SessionState(_) => {}
            Fact::HookFailed { message } => {
                self.warn("hook_failed", message, serde_json::Value::Null)
            }
            // The CLI also reports a limit that is not reached. The reset matters only if the
            // limit ends the execution.
            Fact::RateLimit { resets_at, .. } => self.resets_at = resets_at.or(self.resets_at),
            Fact::Result(outcome) => self.result(*outcome, now),
        }
    }

    /// Adds a tool use that the CLI's permissions denied. If the same tool use is in the list, the
    /// new entry replaces it, because a result repeats the denials in more detail. A full list
    /// stays unchanged.
    fn denied(&mut self, denial: serde_json::Value) {
        let list = &mut self.status.permission_denials;
        let id = denial.get("tool_use_id").filter(|id| id.is_string());
        let known = list
            .iter()
            .position(|d| id.is_some() && d.get("tool_use_id") == id);
        match known {
            Some(at) => list[at] = denial,
            None if list.len() < MAX_DENIALS => list.push(denial),
            None => {}
        }
        self.changed = true;
    }

    /// Sets the activity in the status, such as `writing`.
    fn activity(&mut self, activity: &Activity) {
        self.activity = Some(short(&activity.to_string()));
        self.show_activity();
    }

    /// Takes over a result of the CLI: usage, cost, denials and the reset of a usage limit. Starts
    /// the linger grace.
    fn result(&mut self, outcome: Outcome, now: Instant) {
        for denial in &outcome.permission_denials {
            self.denied(denial.clone());
        }
        self.status.structured_output = outcome.structured_output.clone();
        self.status.usage = outcome.usage.clone().or(self.status.usage.take());
        self.cli_cost_usd = outcome.cost_usd.or(self.cli_cost_usd);
        self.update_cost();
        self.resets_at = outcome.resets_at.or(self.resets_at);
        self.outcome = Some(outcome);
        if self.stdin_open {
            // The CLI waits for the client's input.
            self.activity = None;
            self.show_activity();
        }
        self.changed = true;
        self.linger_at = Some(now + self.linger);
    }
}

/// Cuts a name from the CLI to the maximum length for a status.
pub(super) fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS).collect()
}
