//! The timers of one execution, as a plain value: the clock that stands while it is paused, progress, the idle timeout and
//! the deadline. Time comes from outside.

use std::time::{Duration, Instant};

/// CPU time that counts as progress: more than this in a minute (docs/protocol.md, "Progress").
const CPU_PER_MINUTE: Duration = Duration::from_secs(2);
/// The shortest time over which CPU time is judged: below it the kernel's 10 ms ticks decide.
const CPU_WINDOW: Duration = Duration::from_secs(1);

/// What the timers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerState {
    /// Go on.
    Fine,
    /// No progress for `stalled`.
    Stalled,
    /// No progress for the idle timeout.
    Idle,
    /// The client's deadline has come.
    Deadline,
}

/// The timers of one execution.
#[derive(Debug)]
pub(crate) struct Timers {
    stalled: Duration,
    idle: Duration,
    deadline: Option<Duration>,
    /// Running time up to `since`; `since` is none while paused.
    before: Duration,
    since: Option<Instant>,
    /// Running time at the last progress.
    progress: Duration,
    tools: bool,
    cpu: Option<CpuTime>,
}

/// The CPU time that the tree had used.
#[derive(Debug, Clone, Copy)]
struct CpuTime {
    used: Duration,
    /// The running time at which it was looked at.
    at: Duration,
}

impl Timers {
    pub(crate) fn new(
        now: Instant,
        stalled: Duration,
        idle: Duration,
        deadline: Option<Duration>,
    ) -> Self {
        Self {
            stalled: stalled.min(idle),
            idle,
            deadline,
            before: Duration::ZERO,
            since: Some(now),
            progress: Duration::ZERO,
            tools: false,
            cpu: None,
        }
    }

    /// Running time: pauses do not count.
    pub(crate) fn running(&self, now: Instant) -> Duration {
        self.before
            + self
                .since
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub(crate) fn pause(&mut self, now: Instant) {
        self.before = self.running(now);
        self.since = None;
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
            // What ran before the pause must not be measured against the time after it.
            self.cpu = None;
        }
    }

    /// A byte of stdout came.
    pub(crate) fn output(&mut self, now: Instant) {
        self.progress = self.running(now);
    }

    /// Whether a tool is running; while one is, all is progress.
    pub(crate) fn tools(&mut self, now: Instant, running: bool) {
        if self.tools != running {
            self.output(now);
        }
        self.tools = running;
    }

    /// Whether CPU time is worth sampling now: only silent executions are asked for it.
    pub(crate) fn wants_cpu(&self, now: Instant) -> bool {
        !self.tools
            && self.running(now).saturating_sub(self.progress) >= self.interval().min(CPU_WINDOW)
    }

    /// The CPU time that the tree has used so far.
    pub(crate) fn cpu(&mut self, now: Instant, used: Duration) {
        let at = self.running(now);
        let Some(before) = self.cpu else {
            self.cpu = Some(CpuTime { used, at });
            return;
        };
        let window = at.saturating_sub(before.at);
        if window < CPU_WINDOW.min(self.stalled / 2) {
            return;
        }
        self.cpu = Some(CpuTime { used, at });
        if used.saturating_sub(before.used).as_secs_f64() * 60.0
            > CPU_PER_MINUTE.as_secs_f64() * window.as_secs_f64()
        {
            // A byte may have come while the time was looked at.
            self.progress = self.progress.max(at);
        }
    }

    pub(crate) fn verdict(&mut self, now: Instant) -> TimerState {
        let running = self.running(now);
        if self.deadline.is_some_and(|deadline| running >= deadline) {
            return TimerState::Deadline;
        }
        if self.tools {
            self.progress = running;
        }
        let silent = running.saturating_sub(self.progress);
        if silent >= self.idle {
            TimerState::Idle
        } else if silent >= self.stalled {
            TimerState::Stalled
        } else {
            TimerState::Fine
        }
    }

    /// How often to look.
    fn interval(&self) -> Duration {
        (self.stalled / 4).clamp(Duration::from_millis(20), Duration::from_secs(10))
    }

    /// When to look again; never while paused.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.since?;
        let running = self.running(now);
        let mut wait = self.interval();
        let silent = running.saturating_sub(self.progress);
        for due in [self.stalled, self.idle] {
            if silent < due {
                wait = wait.min(due - silent);
            }
        }
        if let Some(deadline) = self.deadline {
            wait = wait.min(deadline.saturating_sub(running));
        }
        Some(now + wait.max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timers(now: Instant) -> Timers {
        Timers::new(now, 120 * SECOND, 900 * SECOND, None)
    }

    #[test]
    fn silence_is_stalled_then_idle_and_output_ends_it() {
        let start = Instant::now();
        let mut timers = timers(start);
        assert_eq!(timers.verdict(start + 119 * SECOND), TimerState::Fine);
        assert_eq!(timers.verdict(start + 120 * SECOND), TimerState::Stalled);
        timers.output(start + 130 * SECOND);
        assert_eq!(timers.verdict(start + 249 * SECOND), TimerState::Fine);
        assert_eq!(
            timers.verdict(start + (130 + 899) * SECOND),
            TimerState::Stalled
        );
        assert_eq!(
            timers.verdict(start + (130 + 900) * SECOND),
            TimerState::Idle
        );
    }

    #[test]
    fn a_pause_stands_still() {
        let start = Instant::now();
        let mut timers = Timers::new(start, 120 * SECOND, 900 * SECOND, Some(100 * SECOND));
        timers.pause(start + 50 * SECOND);
        assert_eq!(timers.next(start + 60 * SECOND), None);
        assert_eq!(timers.verdict(start + 100_000 * SECOND), TimerState::Fine);
        timers.resume(start + 100_000 * SECOND);
        timers.resume(start + 100_010 * SECOND);
        assert_eq!(timers.running(start + 100_010 * SECOND), 60 * SECOND);
        assert_eq!(
            timers.verdict(start + 100_050 * SECOND),
            TimerState::Deadline
        );
    }

    #[test]
    fn a_running_tool_is_progress() {
        let start = Instant::now();
        let mut timers = timers(start);
        timers.tools(start + SECOND, true);
        assert_eq!(timers.verdict(start + 5000 * SECOND), TimerState::Fine);
        timers.tools(start + 5000 * SECOND, false);
        assert_eq!(timers.verdict(start + 5119 * SECOND), TimerState::Fine);
        assert_eq!(timers.verdict(start + 5120 * SECOND), TimerState::Stalled);
    }

    #[test]
    fn cpu_counts_above_two_seconds_a_minute() {
        for (share, expected) in [
            (0.03, TimerState::Stalled),
            (0.004, TimerState::Stalled),
            (0.04, TimerState::Fine),
        ] {
            let start = Instant::now();
            let mut timers = timers(start);
            for n in 0..=30 {
                let now = start + 5 * n * SECOND;
                timers.cpu(now, Duration::from_secs_f64(f64::from(5 * n) * share));
            }
            assert_eq!(timers.verdict(start + 151 * SECOND), expected, "{share}");
        }
    }

    #[test]
    fn it_looks_again_in_time_for_everything() {
        let start = Instant::now();
        let mut timers = Timers::new(start, SECOND, 2 * SECOND, Some(5 * SECOND));
        let mut now = start;
        let mut seen = Vec::new();
        for _ in 0..100 {
            let verdict = timers.verdict(now);
            if seen.last() != Some(&(verdict, now - start))
                && seen.last().map(|s: &(TimerState, Duration)| s.0) != Some(verdict)
            {
                seen.push((verdict, now - start));
            }
            now = timers.next(now).unwrap();
        }
        assert_eq!(
            seen,
            [
                (TimerState::Fine, Duration::ZERO),
                (TimerState::Stalled, SECOND),
                (TimerState::Idle, 2 * SECOND),
                (TimerState::Deadline, 5 * SECOND)
            ]
        );
    }
}
