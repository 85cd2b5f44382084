//! The timers of one execution: running time, progress, idle timeout and deadline. They are a plain
//! value, and the caller passes the current time. A pause stops all of them.

use std::time::{Duration, Instant};

/// The CPU time for each minute above which a process tree without output still makes progress
/// (docs/protocol.md, "Progress").
const CPU_PER_MINUTE: Duration = Duration::from_secs(2);
/// The shortest time between two measurements of the CPU time that are compared. The kernel counts
/// CPU time in ticks of 10 ms, which would decide over a shorter time.
const CPU_WINDOW: Duration = Duration::from_secs(1);

/// Whether an execution makes progress, or which of its time limits has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerState {
    /// The execution made progress recently.
    Progressing,
    /// The execution made no progress for the time `stalledMs`. Its status says so, and it
    /// continues.
    Stalled,
    /// The execution made no progress for the idle timeout, so it must be ended.
    Idle,
    /// The running time has reached the client's deadline, so the execution must be ended.
    Deadline,
}

/// The timers of one execution: how long it has run, and when it last made progress (output on
/// stdout, CPU time, or a running tool).
#[derive(Debug)]
pub(crate) struct Timers {
    /// The time without progress after which the execution counts as stalled.
    stalled: Duration,
    /// The time without progress after which the execution is ended.
    idle: Duration,
    /// The maximum running time; `None` for no limit.
    deadline: Option<Duration>,
    /// The running time before `since`.
    accumulated: Duration,
    /// When the execution last began to run or to continue. `None` while it is paused.
    since: Option<Instant>,
    /// The running time at which the execution last made progress.
    progress: Duration,
    /// Whether a tool of the model is running, which counts as progress.
    tools: bool,
    /// The last measurement of the CPU time. `None` before the first one and after a pause.
    cpu: Option<CpuTime>,
}

/// A measurement of the CPU time that the process tree of an execution has used.
#[derive(Debug, Clone, Copy)]
struct CpuTime {
    /// The CPU time of all processes in the tree so far.
    used: Duration,
    /// The running time of the execution at the measurement.
    at: Duration,
}

impl Timers {
    /// Creates the timers of an execution that runs from `now`. Without progress, it is stalled
    /// after `stalled` and must be ended after `idle`. `deadline` limits its running time; `None`
    /// sets no limit.
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

    /// Returns how long the execution has been running at `now`, without pauses.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        self.accumulated
            + self
                .since
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Stops the timers, because the process tree was suspended.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.accumulated = self.running_time(now);
        self.since = None;
    }

    /// Starts the timers again after a pause. Has no effect on running timers.
    pub(crate) fn resume(&mut self, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
            // A sample from before the pause must not be compared with one after it.
            self.cpu = None;
        }
    }

    /// Records output on stdout, which counts as progress.
    pub(crate) fn output(&mut self, now: Instant) {
        self.progress = self.running_time(now);
    }

    /// Records whether a tool of the model is running. While one is, the execution makes progress.
    pub(crate) fn tools(&mut self, now: Instant, running: bool) {
        if self.tools != running {
            self.output(now);
        }
        self.tools = running;
    }

    /// Returns whether the CPU time should be measured now. This is needed only for an execution
    /// that has been silent for a while and runs no tool, because a measurement costs time.
    pub(crate) fn needs_cpu_sample(&self, now: Instant) -> bool {
        let silence = self.running_time(now).saturating_sub(self.progress);
        !self.tools && silence >= self.interval().min(CPU_WINDOW)
    }

    /// Records the CPU time `used` of the process tree so far. More than 2 s for each minute since
    /// the last measurement counts as progress. A measurement too soon after the last one is
    /// ignored.
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

    /// Checks the timers at `now`. If several limits have passed, the deadline wins over the idle
    /// timeout, and that over the stall.
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

    /// Returns the longest time between two checks of the timers: a quarter of the stall time, but
    /// at least 20 ms and at most 10 s.
    fn interval(&self) -> Duration {
        (self.stalled / 4).clamp(Duration::from_millis(20), Duration::from_secs(10))
    }

    /// Returns when the timers must be checked again. `None` while they are paused.
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
