//! The timers of one execution, as a plain value: running time, progress, the idle timeout and the
//! deadline. A pause stops all of them. The caller passes the time.

use std::time::{Duration, Instant};

/// The CPU time in a minute above which a silent tree makes progress (docs/protocol.md,
/// "Progress").
const CPU_PER_MINUTE: Duration = Duration::from_secs(2);
/// The shortest time between two samples of the CPU time that are compared: over a shorter time,
/// the kernel's ticks of 10 ms would decide.
const CPU_WINDOW: Duration = Duration::from_secs(1);

/// The result of a check of the timers: whether the execution makes progress, or the limit that
/// passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerState {
    /// There was progress recently.
    Progressing,
    /// There was no progress for `stalledMs`. The status shows this, and the execution continues.
    Stalled,
    /// There was no progress for the idle timeout.
    Idle,
    /// The client's deadline has passed.
    Deadline,
}

/// The timers of one execution: how long it has run, and when it last made progress (stdout, CPU
/// time or a running tool).
#[derive(Debug)]
pub(crate) struct Timers {
    stalled: Duration,
    idle: Duration,
    deadline: Option<Duration>,
    /// The running time up to `since`.
    accumulated: Duration,
    /// The start of the present stretch of running; `None` while paused.
    since: Option<Instant>,
    /// The running time at the last progress.
    progress: Duration,
    /// Whether a tool is running.
    tools: bool,
    /// The last sample of the CPU time.
    cpu: Option<CpuTime>,
}

/// A sample of the CPU time that the tree has used.
#[derive(Debug, Clone, Copy)]
struct CpuTime {
    used: Duration,
    /// The running time of the execution when the sample was taken.
    at: Duration,
}

impl Timers {
    /// Creates timers that run from `now`. Without progress, the execution is stalled after
    /// `stalled` and idle after `idle`. `deadline` limits its running time; `None` sets no limit.
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
            accumulated: Duration::ZERO,
            since: Some(now),
            progress: Duration::ZERO,
            tools: false,
            cpu: None,
        }
    }

    /// Returns the running time. Pauses do not count.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        self.accumulated
            + self
                .since
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Stops the timers while the process tree is stopped.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.accumulated = self.running_time(now);
        self.since = None;
    }

    /// Lets the timers run again. No effect on running timers.
    pub(crate) fn resume(&mut self, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
            // A sample from before the pause must not be compared with one after it.
            self.cpu = None;
        }
    }

    /// Notes that bytes arrived on stdout, which is progress.
    pub(crate) fn output(&mut self, now: Instant) {
        self.progress = self.running_time(now);
    }

    /// Notes whether a tool is running. While one is, the execution makes progress.
    pub(crate) fn tools(&mut self, now: Instant, running: bool) {
        if self.tools != running {
            self.output(now);
        }
        self.tools = running;
    }

    /// Returns whether the CPU time should be sampled now. Only silent executions need it.
    pub(crate) fn needs_cpu_sample(&self, now: Instant) -> bool {
        let silence = self.running_time(now).saturating_sub(self.progress);
        !self.tools && silence >= self.interval().min(CPU_WINDOW)
    }

    /// Notes the CPU time that the process tree has used so far. More than 2 s in a minute since
    /// the last sample is progress.
    pub(crate) fn cpu_sample(&mut self, now: Instant, used: Duration) {
        let at = self.running_time(now);
        let Some(last) = self.cpu else {
            self.cpu = Some(CpuTime { used, at });
            return;
        };
        let window = at.saturating_sub(last.at);
        if window < CPU_WINDOW.min(self.stalled / 2) {
            return;
        }
        self.cpu = Some(CpuTime { used, at });
        if used.saturating_sub(last.used).as_secs_f64() * 60.0
            > CPU_PER_MINUTE.as_secs_f64() * window.as_secs_f64()
        {
            // Output may have arrived after the sample was taken.
            self.progress = self.progress.max(at);
        }
    }

    /// Checks the timers at `now`: first the deadline, then the idle timeout, then the stall.
    pub(crate) fn state(&mut self, now: Instant) -> TimerState {
        let running = self.running_time(now);
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
            TimerState::Progressing
        }
    }

    /// Returns the longest time between two checks: a quarter of the stall time, from 20 ms to
    /// 10 s.
    fn interval(&self) -> Duration {
        (self.stalled / 4).clamp(Duration::from_millis(20), Duration::from_secs(10))
    }

    /// Returns when the next check is due; `None` while paused.
    pub(crate) fn next_check(&self, now: Instant) -> Option<Instant> {
        self.since?;
        let running = self.running_time(now);
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
    fn silence_is_a_stall_then_idle_and_output_ends_a_stall() {
        let start = Instant::now();
        let mut timers = timers(start);
        assert_eq!(timers.state(start + 119 * SECOND), TimerState::Progressing);
        assert_eq!(timers.state(start + 120 * SECOND), TimerState::Stalled);
        timers.output(start + 130 * SECOND);
        assert_eq!(timers.state(start + 249 * SECOND), TimerState::Progressing);
        assert_eq!(
            timers.state(start + (130 + 899) * SECOND),
            TimerState::Stalled
        );
        assert_eq!(timers.state(start + (130 + 900) * SECOND), TimerState::Idle);
    }

    #[test]
    fn a_pause_stops_all_timers() {
        let start = Instant::now();
        let mut timers = Timers::new(start, 120 * SECOND, 900 * SECOND, Some(100 * SECOND));
        timers.pause(start + 50 * SECOND);
        assert_eq!(timers.next_check(start + 60 * SECOND), None);
        assert_eq!(
            timers.state(start + 100_000 * SECOND),
            TimerState::Progressing
        );
        timers.resume(start + 100_000 * SECOND);
        timers.resume(start + 100_010 * SECOND);
        assert_eq!(timers.running_time(start + 100_010 * SECOND), 60 * SECOND);
        assert_eq!(timers.state(start + 100_050 * SECOND), TimerState::Deadline);
    }

    #[test]
    fn a_running_tool_is_progress() {
        let start = Instant::now();
        let mut timers = timers(start);
        timers.tools(start + SECOND, true);
        assert_eq!(timers.state(start + 5000 * SECOND), TimerState::Progressing);
        timers.tools(start + 5000 * SECOND, false);
        assert_eq!(timers.state(start + 5119 * SECOND), TimerState::Progressing);
        assert_eq!(timers.state(start + 5120 * SECOND), TimerState::Stalled);
    }

    #[test]
    fn more_than_two_seconds_of_cpu_time_a_minute_are_progress() {
        for (share, expected) in [
            (0.03, TimerState::Stalled),
            (0.004, TimerState::Stalled),
            (0.04, TimerState::Progressing),
        ] {
            let start = Instant::now();
            let mut timers = timers(start);
            for n in 0..=30 {
                let now = start + 5 * n * SECOND;
                timers.cpu_sample(now, Duration::from_secs_f64(f64::from(5 * n) * share));
            }
            assert_eq!(timers.state(start + 151 * SECOND), expected, "{share}");
        }
    }

    #[test]
    fn each_state_is_noticed_at_its_exact_time() {
        let start = Instant::now();
        let mut timers = Timers::new(start, SECOND, 2 * SECOND, Some(5 * SECOND));
        let mut now = start;
        let mut seen = Vec::new();
        for _ in 0..100 {
            let state = timers.state(now);
            if seen.last() != Some(&(state, now - start))
                && seen.last().map(|s: &(TimerState, Duration)| s.0) != Some(state)
            {
                seen.push((state, now - start));
            }
            now = timers.next_check(now).unwrap();
        }
        assert_eq!(
            seen,
            [
                (TimerState::Progressing, Duration::ZERO),
                (TimerState::Stalled, SECOND),
                (TimerState::Idle, 2 * SECOND),
                (TimerState::Deadline, 5 * SECOND)
            ]
        );
    }
}
