//! Pause and resume. A pause stops the clock of the execution, but not the clock of the CLI's own
//! time limits.

use std::time::{Duration, Instant};

use protocol::State;
use serde_json::json;

use super::{Machine, StartedTool};
use crate::times::millis;

impl Machine {
    /// Notes that the process tree is stopped.
    pub(crate) fn paused(&mut self, now: Instant) {
        if self.status.state == State::Running {
            self.status.state = State::Paused;
            self.timers.pause(now);
            self.paused = Some(now);
            self.changed = true;
        }
    }

    /// Notes that the process tree runs again. Warns of each time limit of a tool that passed in
    /// the pause.
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
        let length = now.saturating_duration_since(since);
        self.linger_at = self.linger_at.map(|at| at + length);
        for passed in self.passed_limits(since, now) {
            let PassedLimit { tool, limit } = passed;
            self.warn(
                "tool_time_limit_passed",
                format!(
                    "the time limit of {tool}, {} s, passed in the pause of {} s: the CLI will \
                     report a timeout even if the tool finished",
                    limit.as_secs(),
                    length.as_secs()
                ),
                json!({ "tool": tool, "pausedMs": millis(length), "limitMs": millis(limit) }),
            );
        }
    }

    /// Returns the tools whose time limit passed between two moments. The CLI's clock for them runs
    /// even while the tree is stopped. Of the CLI's own tools only Bash has a limit.
    fn passed_limits(&self, from: Instant, to: Instant) -> Vec<PassedLimit> {
        let passed = |started: &StartedTool| {
            let StartedTool { tool, since } = started;
            let limit = tool
                .timeout_ms
                .map_or(self.tool_limit, Duration::from_millis);
            let ran = |at: Instant| at.saturating_duration_since(*since);
            let has_passed = tool.name == "Bash" && ran(from) < limit && ran(to) >= limit;
            has_passed.then(|| PassedLimit {
                tool: tool.name.clone(),
                limit,
            })
        };
        self.tools.iter().filter_map(passed).collect()
    }
}

/// A tool whose time limit passed in a pause.
struct PassedLimit {
    tool: String,
    limit: Duration,
}
