//! The updates of the service's counters (`/metrics`) by a running execution.

use std::time::Instant;

use renderer::{Activity, Fact};

use super::running::Running;

impl Running<'_> {
    /// Updates `/metrics` after a chunk of the CLI's output was appended. Records the time to the
    /// first byte and to the first text, and counts the retries, restarts and lost events among the
    /// chunk's facts.
    pub(super) fn count(&mut self, facts: &[Fact], now: Instant) {
        let metrics = &self.owner.engine.metrics;
        if !self.counted.first_byte && self.output.has_begun() {
            self.counted.first_byte = true;
            metrics.first_byte(self.machine.running_time(now));
            self.owner.first_output = Some(self.owner.times.now());
        }
        for fact in facts {
            match fact {
                Fact::Activity(Activity::Writing) if !self.counted.first_text => {
                    self.counted.first_text = true;
                    metrics.first_text(self.machine.running_time(now));
                }
                Fact::Retry { .. } => {
                    metrics.api_retries.inc();
                }
                Fact::Restart => {
                    metrics.restarts.inc();
                }
                Fact::EventLost => {
                    metrics.events_lost.inc();
                }
                Fact::Init { .. }
                | Fact::Activity(_)
                | Fact::ToolsRunning(_)
                | Fact::Noise { .. }
                | Fact::ToolDenied { .. }
                | Fact::ControlRequested { .. }
                | Fact::ControlWithdrawn { .. }
                | Fact::SessionState(_)
                | Fact::HookFailed { .. }
                | Fact::RateLimit { .. }
                | Fact::Result(_) => {}
            }
        }
    }
}
