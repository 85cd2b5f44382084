//! A pause: the clock of the execution stands, the clock of the CLI's own time limits goes on.

use std::time::{Duration, Instant};

use protocol::State;
use renderer::RunningTool;
use serde_json::json;

use super::Machine;
use crate::times::millis;

impl Machine {
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
}
