//! A wall clock that never goes back.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The wall clock by which tokens and shares expire and days of spending end. It never goes back:
/// while the machine's clock is behind an earlier reading, it stands still. So a clock that jumps
/// back makes no expired token valid again.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The latest reading, in milliseconds since the Unix epoch.
    latest_ms: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            latest_ms: AtomicI64::new(i64::MIN),
        }
    }
}

impl Clock {
    /// Returns the present time, in whole milliseconds.
    pub(crate) fn now(&self) -> Timestamp {
        self.at_least(Timestamp::now())
    }

    /// Returns `reading`, or the latest earlier reading if that is later.
    fn at_least(&self, reading: Timestamp) -> Timestamp {
        let ms = reading.as_millisecond();
        let latest = self.latest_ms.fetch_max(ms, Ordering::Relaxed).max(ms);
        Timestamp::from_millisecond(latest).unwrap_or(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let clock = Clock::default();
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let readings = [5, 9, 7, 1, 9, 12].map(|ms| clock.at_least(at(ms)).as_millisecond());
        assert_eq!(readings, [5, 9, 9, 9, 9, 12]);
    }
}
