//! A pause: the clock of the execution stands, the clock of the CLI's own time limits goes on.

use std::time::{Duration, Instant};

use protocol::State;
use serde_json::json;

use super::{Machine, StartedTool};
use crate::times::millis;

impl Machine {
    /// Notes that the tree stands still.
    pub(crate) fn paused(&mut self, now: Instant) {
        if self.status.state == State::Running {
            self.status.state = State::Paused;
            self.timers.pause(now);
            self.paused = Some(now);
            self.changed = true;
        }
    }

    /// Notes that the tree goes on. Warns of time limits of tools that passed in the pause.
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
        for passed in self.passed(since, now) {
            let PassedLimit { tool, limit } = passed;
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

    /// Returns the tools whose time limit passed between two moments: the CLI's clock for them goes
    /// on while the tree stands. Of the CLI's own tools only Bash has a limit.
    fn passed(&self, from: Instant, to: Instant) -> Vec<PassedLimit> {
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
