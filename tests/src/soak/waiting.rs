//! Checks that each count of waiting executions is explained by executions of the same principal
//! (docs/protocol.md, "Principals"): `queuePosition` of a status, and `length` of `queue-full`.
//!
//! The counts are checked at the end of the run, when the times at which each execution waited are
//! known. A count that is too high includes an execution of another principal.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{execution::Execution, world::World};

/// The rounding of times: statuses have milliseconds.
const ROUNDING: SignedDuration = SignedDuration::from_millis(5);
/// The time for which an execution may count after its recorded end: it leaves the queue once its
/// end is on the disk.
const LEAVES: SignedDuration = SignedDuration::from_secs(1);
/// The difference between the order of acceptance and that of `createdAt`: two executions that are
/// accepted at the same time may enter the queue in any order.
const ORDER: SignedDuration = SignedDuration::from_millis(200);
/// A kill of claude-api may lose an execution that counts already and is not on the disk yet. So
/// the counts of this time before a kill are not checked.
const LOST: SignedDuration = SignedDuration::from_millis(500);

/// The meaning of a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Counted {
    /// The executions that wait before this one, by its id.
    Before(String),
    /// The executions that wait in this lane.
    InLane(String),
}

/// One count that a client received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) principal: usize,
    pub(super) counted: Counted,
    pub(super) count: u64,
    /// claude-api counted at some time from here on.
    pub(super) from: Timestamp,
    /// When the client received the count.
    pub(super) to: Timestamp,
}

/// The time in which one accepted execution may have waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) id: String,
    pub(super) principal: usize,
    pub(super) lane: Option<String>,
    /// Whether a policy created it. After a restart it may be before executions that are older.
    pub(super) is_child: bool,
    /// When it was accepted.
    pub(super) from: Timestamp,
    /// The latest time at which it left the queue.
    pub(super) to: Timestamp,
}

impl Wait {
    /// Returns when an execution may have waited. An unknown time leaves all times possible.
    pub(super) fn of(execution: &Execution) -> Self {
        let facts = execution.facts();
        let status = facts.terminal.as_ref().map(|(status, _)| status);
        let time = |name: &str| status?[name].as_str()?.parse::<Timestamp>().ok();
        let started = time("startedAt").map(|start| start + ROUNDING);
        let left = started.or_else(|| time("endedAt").map(|end| end + LEAVES));
        Self {
            id: execution.id.clone(),
            principal: execution.principal,
            lane: status.and_then(|status| status["lane"].as_str().map(str::to_owned)),
            is_child: execution.is_child(),
            from: time("createdAt").unwrap_or(Timestamp::MIN),
            to: left.unwrap_or(Timestamp::MAX),
        }
    }

    fn overlaps(&self, sample: &Sample) -> bool {
        self.principal == sample.principal && self.from <= sample.to && self.to >= sample.from
    }
}

/// Returns the highest count that executions of the same principal explain.
fn explained(sample: &Sample, waits: &[Wait]) -> u64 {
    let overlapping = waits.iter().filter(|wait| wait.overlaps(sample));
    let count = match &sample.counted {
        Counted::Before(id) => {
            let own = waits.iter().find(|wait| wait.id == *id);
            let last = own.map_or(Timestamp::MAX, |own| {
                own.from.saturating_add(ORDER).unwrap_or(Timestamp::MAX)
            });
            overlapping
                .filter(|wait| wait.id != *id && (wait.is_child || wait.from <= last))
                .count()
        }
        Counted::InLane(lane) => overlapping
            .filter(|wait| wait.lane.as_ref().is_none_or(|of| of == lane))
            .count(),
    };
    count as u64
}

impl World {
    /// Keeps the position of a status for [`audit`]. `asked` is when the request was sent; `None`
    /// for a notification, which may repeat an old status.
    pub(super) fn note_position(
        &self,
        execution: &Execution,
        status: &Value,
        asked: Option<Timestamp>,
    ) {
        let position = status["queuePosition"].as_u64().filter(|at| *at > 0);
        let created = status["createdAt"].as_str();
        let created = created.and_then(|at| at.parse::<Timestamp>().ok());
        let Some((count, from)) = position.zip(asked.or(created)) else {
            return;
        };
        self.note_sample(Sample {
            principal: execution.principal,
            counted: Counted::Before(execution.id.clone()),
            count,
            from,
            to: Timestamp::now(),
        });
    }
}

/// Checks all counts of a run.
pub(super) fn audit(world: &World, executions: &[std::sync::Arc<Execution>]) {
    let accepted = executions.iter().filter(|one| one.facts().accepted);
    let waits: Vec<_> = accepted.map(|one| Wait::of(one)).collect();
    let samples = world.samples();
    let mut checked = 0;
    for sample in &samples {
        if world.deeds.kills(sample.from, sample.to + LOST) {
            continue;
        }
        checked += 1;
        let most = explained(sample, &waits);
        if sample.count > most {
            let text = format!(
                "I7: a count includes executions of another principal: {sample:?}, of which its \
                 own explain {most}"
            );
            world.violate("claude-api", &text);
        }
    }
    world.remark(format!(
        "{checked} of {} counts of waiting executions compared",
        samples.len()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: i64) -> Timestamp {
        Timestamp::new(at, 0).expect("a time")
    }

    fn wait(id: &str, principal: usize, from: i64, to: i64) -> Wait {
        Wait {
            id: id.to_owned(),
            principal,
            lane: Some("a".to_owned()),
            is_child: false,
            from: second(from),
            to: second(to),
        }
    }

    fn sample(counted: Counted, from: i64, to: i64) -> Sample {
        Sample {
            principal: 0,
            counted,
            count: 0,
            from: second(from),
            to: second(to),
        }
    }

    #[test]
    fn only_earlier_executions_of_the_same_principal_that_wait_at_the_time_explain_a_position() {
        let mut waits = vec![
            wait("own", 0, 20, 60),
            wait("before", 0, 10, 50),
            wait("gone", 0, 10, 30),
            wait("after", 0, 25, 60),
            wait("foreign", 1, 10, 60),
        ];
        let position = |from, to| sample(Counted::Before("own".to_owned()), from, to);
        assert_eq!(explained(&position(40, 45), &waits), 1);
        assert_eq!(explained(&position(25, 45), &waits), 2);
        assert_eq!(explained(&position(55, 56), &waits), 0);
        waits[3].is_child = true;
        assert_eq!(explained(&position(40, 45), &waits), 2);
    }

    #[test]
    fn only_executions_of_the_same_principal_and_lane_explain_the_length_of_a_lane() {
        let mut waits = vec![
            wait("one", 0, 10, 50),
            wait("two", 0, 20, 50),
            wait("foreign", 1, 10, 50),
        ];
        let length = sample(Counted::InLane("a".to_owned()), 30, 31);
        assert_eq!(explained(&length, &waits), 2);
        waits[1].lane = Some("b".to_owned());
        assert_eq!(explained(&length, &waits), 1);
    }
}
