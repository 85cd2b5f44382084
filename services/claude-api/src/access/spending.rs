//! The cost of each principal's executions on the present UTC day, which outlives a restart.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use protocol::ExecutionId;
use serde::{Deserialize, Serialize};

use super::clock::Clock;

/// How many executions of a principal are remembered as counted. A restart may find an execution
/// whose cost is counted, but whose end is not recorded. The same cost is then not counted again.
const REMEMBERED: usize = 256;

/// The cost of each principal on the present UTC day, in memory and in a file.
///
/// The cost of an execution is `costUsd` of its status. It is counted before the end of the
/// execution is recorded, so a kill in between cannot lose it.
#[derive(Debug)]
pub(crate) struct Spending {
    path: PathBuf,
    // Held for one change and the write of the file, on a blocking thread; no await happens inside.
    days: Mutex<HashMap<String, Day>>,
}

/// The cost of one principal on one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Day {
    day: Date,
    usd: f64,
    /// The executions that were counted last, each with the cost that is counted for it. The newest
    /// is at the end.
    counted: Vec<(ExecutionId, f64)>,
}

/// The part of a budget from which on it counts as nearly spent.
const NEAR: f64 = 0.8;

/// The numbers of principals with a budget for a day, by how much of it is spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Budgets {
    /// The principals that have spent less than 80 % of their budget.
    pub(crate) open: u64,
    /// The principals that have spent 80 % or more, but not all.
    pub(crate) near: u64,
    /// The principals that have nothing left of their budget, so their executions are refused.
    pub(crate) spent: u64,
}

impl Budgets {
    /// Counts a principal that has spent `spent` of `budget`, both in US dollars.
    pub(super) fn add(&mut self, spent: f64, budget: f64) {
        let count = match spent {
            spent if spent >= budget => &mut self.spent,
            spent if spent >= budget * NEAR => &mut self.near,
            _ => &mut self.open,
        };
        *count += 1;
    }
}

impl Spending {
    /// Reads the costs from the file `path`; a missing file has none. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read or is damaged. A budget must not be forgotten silently.
    pub(crate) fn open(path: PathBuf, clock: &Clock) -> io::Result<Self> {
        let mut days: HashMap<String, Day> = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| {
                let text = format!("{} is damaged ({error}); remove it", path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error),
        };
        let today = day_of(clock.now());
        days.retain(|_, spent| spent.day >= today);
        Ok(Self {
            path,
            days: Mutex::new(days),
        })
    }

    /// Returns the cost of a principal on the day of `now`, in US dollars.
    pub(crate) fn spent(&self, principal: &str, now: Timestamp) -> f64 {
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        // A day that is later than `now` was counted before the clock went back.
        let spent = days.get(principal).filter(|day| day.day >= day_of(now));
        spent.map_or(0.0, |day| day.usd)
    }

    /// Returns the cost of a principal on the day of `now`, in US dollars, with the costs of
    /// executions that have not ended. `running` has their ids and their costs so far. A part that
    /// is counted already is not counted twice.
    pub(crate) fn spent_with(
        &self,
        principal: &str,
        running: &[(String, f64)],
        now: Timestamp,
    ) -> f64 {
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let day = days.get(principal);
        let counted = |id: &str| {
            let list = day.map_or(&[][..], |day| &day.counted);
            let known = list.iter().find(|(other, _)| other.to_string() == id);
            known.map_or(0.0, |(_, usd)| *usd)
        };
        let rest = running.iter().map(|(id, usd)| (usd - counted(id)).max(0.0));
        let spent = day.filter(|day| day.day >= day_of(now));
        spent.map_or(0.0, |day| day.usd) + rest.sum::<f64>()
    }

    /// Adds the cost of an execution so far, in US dollars, to the day of `now`. The part that was
    /// counted for the execution before is not counted again. A cost that is not above 0, or not
    /// finite, is ignored. Blocks on the disk.
    ///
    /// # Errors
    /// The file could not be written. The cost is counted in memory nevertheless.
    pub(crate) fn add(
        &self,
        principal: &str,
        id: ExecutionId,
        usd: f64,
        now: Timestamp,
    ) -> io::Result<()> {
        if !(usd > 0.0 && usd.is_finite()) {
            return Ok(());
        }
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let today = day_of(now);
        let day = days.entry(principal.to_owned()).or_insert(Day {
            day: today,
            usd: 0.0,
            counted: Vec::new(),
        });
        let known = day.counted.iter().position(|(other, _)| *other == id);
        let before = known.map_or(0.0, |at| day.counted[at].1);
        if usd <= before {
            return Ok(());
        }
        if day.day < today {
            (day.day, day.usd) = (today, 0.0);
        }
        day.usd += usd - before;
        match known {
            Some(at) => {
                day.counted.remove(at);
            }
            None if day.counted.len() >= REMEMBERED => {
                day.counted.remove(0);
            }
            None => {}
        }
        day.counted.push((id, usd));
        self.write(&days)
    }

    fn write(&self, days: &HashMap<String, Day>) -> io::Result<()> {
        let staged = self.path.with_extension("new");
        spool::write_private(&staged, &serde_json::to_vec(days)?)?.sync_data()?;
        std::fs::rename(staged, &self.path)
    }
}

/// Returns the UTC day of a time.
fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Returns the first moment of the next UTC day, when all budgets begin anew.
pub(crate) fn next_day(now: Timestamp) -> Timestamp {
    let tomorrow = day_of(now).saturating_add(1.day());
    let midnight = tomorrow.to_zoned(TimeZone::UTC);
    midnight.map_or(now, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn costs_are_summed_by_principal_and_day_and_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json");
        let open = || Spending::open(path.clone(), &Clock::default()).unwrap();
        // In the future, because the real clock decides at the open which days are over.
        let (day, next) = (at("2200-01-01T23:59:59Z"), at("2200-01-02T00:00:00Z"));
        let spending = open();
        let [one, two, three] = [(); 3].map(|()| ExecutionId::random());
        spending.add("a", one, 1.5, day).unwrap();
        spending.add("a", one, 1.5, day).unwrap();
        spending.add("a", two, 1.0, day).unwrap();
        spending.add("b", three, 9.0, day).unwrap();
        assert_eq!(spending.spent("a", day), 2.5);
        let spending = open();
        assert_eq!(spending.spent("a", day), 2.5);
        assert_eq!(spending.spent("b", day), 9.0);
        assert_eq!(spending.spent("a", next), 0.0);
        spending.add("a", two, 1.0, next).unwrap();
        assert_eq!(spending.spent("a", next), 0.0, "counted yesterday");
        spending.add("a", two, 1.5, next).unwrap();
        assert_eq!(spending.spent("a", next), 0.5, "the rest of it");
        spending.add("a", three, 4.0, next).unwrap();
        assert_eq!(open().spent("a", next), 4.5);
        assert_eq!(open().spent("a", day), 4.5, "a clock that went back");
    }

    #[test]
    fn running_executions_count_with_the_part_that_is_not_counted_yet() {
        let dir = tempfile::tempdir().unwrap();
        let spending = Spending::open(dir.path().join("s"), &Clock::default()).unwrap();
        let (day, next) = (at("2200-01-01T12:00:00Z"), at("2200-01-02T00:00:00Z"));
        let [one, two] = [(); 2].map(|()| ExecutionId::random());
        let running = [(one.to_string(), 2.0), (two.to_string(), 0.5)];
        assert_eq!(spending.spent_with("a", &running, day), 2.5);
        spending.add("a", one, 1.5, day).unwrap();
        assert_eq!(spending.spent_with("a", &running, day), 2.5);
        assert_eq!(spending.spent_with("a", &[], day), 1.5);
        assert_eq!(spending.spent_with("a", &running, next), 1.0);
        assert_eq!(spending.spent_with("b", &running, day), 2.5);
    }

    #[test]
    fn a_cost_that_is_no_amount_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let spending = Spending::open(dir.path().join("s"), &Clock::default()).unwrap();
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let id = ExecutionId::random();
            spending
                .add("a", id, odd, at("2200-01-01T00:00:00Z"))
                .unwrap();
        }
        assert_eq!(spending.spent("a", at("2200-01-01T00:00:00Z")), 0.0);
    }

    #[test]
    fn budgets_are_counted_by_how_much_is_spent() {
        let mut counts = Budgets::default();
        for spent in [0.0, 7.99, 8.0, 9.99, 9.995, 10.0, 11.0] {
            counts.add(spent, 10.0);
        }
        let expected = Budgets {
            open: 2,
            near: 3,
            spent: 2,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_damaged_file_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s"), "{").unwrap();
        assert!(Spending::open(dir.path().join("s"), &Clock::default()).is_err());
    }

    #[test]
    fn budgets_begin_anew_at_midnight() {
        let next = at("2200-01-02T00:00:00Z");
        assert_eq!(next_day(at("2200-01-01T00:00:00Z")), next);
        assert_eq!(next_day(at("2200-01-01T23:59:59.999Z")), next);
    }
}
