//! The clock of one execution, from which the timestamps in its status are made. The timestamps
//! never go back, and the intervals between them are exact, even when the system's wall clock is
//! set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::Status;
use rustix::time::{ClockId, clock_gettime};

/// The clock of one execution: a wall-clock time, and the time since boot at which it was read.
/// Later timestamps are the wall-clock time plus the time passed on the boot clock
/// (CLOCK_BOOTTIME), which is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The wall-clock time at the creation of this clock, or the newest timestamp in the status if
    /// that is later.
    wall: Timestamp,
    /// The time since boot at the creation of this clock.
    read_at: Duration,
}

impl Times {
    /// Creates the clock of an execution with this status. Its first timestamp is not before the
    /// newest timestamp in the status, even if the wall clock was set back since then.
    pub(crate) fn following(status: &Status) -> Self {
        let mut wall = Timestamp::now().max(status.created_at);
        let warned = status.warnings.iter().map(|warning| warning.at);
        for time in warned.chain(status.started_at).chain(status.ended_at) {
            wall = wall.max(time);
        }
        Self {
            wall,
            read_at: since_boot(),
        }
    }

    /// Returns the current time on this clock, rounded down to milliseconds as in every status.
    pub(crate) fn now(&self) -> Timestamp {
        self.at(since_boot())
    }

    /// Returns the timestamp for a moment given as the time since boot. A moment before the
    /// creation of the clock gives the time of the creation.
    fn at(&self, since_boot: Duration) -> Timestamp {
        let passed = since_boot.saturating_sub(self.read_at);
        let now = SignedDuration::try_from(passed)
            .ok()
            .and_then(|passed| self.wall.checked_add(passed).ok())
            .unwrap_or(self.wall);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

/// Returns the time since the boot of the machine (clock_gettime(2), CLOCK_BOOTTIME). It includes
/// the time for which the machine was suspended, as the wall clock does.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Returns the current time of the system's wall clock, rounded down to milliseconds as in every
/// status.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Converts a duration to whole milliseconds, rounded down; the maximum of `u64` if it is too long.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use protocol::ExecutionId;

    use super::*;

    #[test]
    fn times_continue_after_a_status_and_ignore_the_wall_clock() {
        let ahead = Timestamp::now() + SignedDuration::from_hours(2);
        let ahead = Timestamp::from_millisecond(ahead.as_millisecond()).unwrap();
        let mut status = Status::queued(ExecutionId::random(), ahead, "default".to_owned());
        let times = Times::following(&status);
        assert_eq!(times.at(times.read_at), ahead, "the clock was set back");
        let later = times.at(times.read_at + Duration::from_millis(1500));
        assert_eq!(
            later.duration_since(ahead),
            SignedDuration::from_millis(1500)
        );
        assert_eq!(times.at(Duration::ZERO), ahead, "it never goes back");
        status.started_at = Some(later);
        assert!(Times::following(&status).now() >= later);
    }
}
