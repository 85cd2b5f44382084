//! Pause and resume of an execution. A pause stops the execution's own timers, but not the clock by
//! which the CLI measures the time limits of its tools.

use std::time::{Duration, Instant};

use protocol::State;
use serde_json::json;

use super::{Machine, StartedTool};
use crate::times::millis;

impl Machine {
    /// Records that the process tree was suspended with SIGSTOP. The timers stop. Has no effect on
    /// an execution that is already paused.
    pub(crate) fn paused(&mut self, now: Instant) {
        if self.status.state == State::Running {
            self.status.state = State::Paused;
            self.timers.pause(now);
            self.paused = Some(now);
            self.changed = true;
        }
    }

    /// Records that the process tree was continued with SIGCONT. The timers run again. Adds a
    /// warning for each tool whose time limit passed during the pause. Returns the length of the
    /// pause. Has no effect if the execution was not paused.
    pub(crate) fn resumed(&mut self, now: Instant) -> Duration {
        if self.status.state != State::Paused {
            return Duration::ZERO;
        }
        self.status.state = State::Running;
        self.timers.resume(now);
        self.changed = true;
        let Some(since) = self.paused.take() else {
            return Duration::ZERO;
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
        length
    }

    /// Returns the running tools whose time limit passed between `from` and `to`. The CLI's clock
    /// for these limits runs even while the process tree is suspended. Of the CLI's own tools, only
    /// Bash has a limit.
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
        // A tool that waits for a permission has not been started.
        let started = self.tools.iter().filter(|_| !self.is_prompting());
        started.filter_map(passed).collect()
    }
}

/// A running tool whose time limit passed during a pause.
struct PassedLimit {
    /// The name of the tool.
    tool: String,
    /// The time limit of the call.
    limit: Duration,
}
