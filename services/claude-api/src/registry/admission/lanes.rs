//! The queue as a plain value.

use std::collections::{HashMap, HashSet};

use protocol::{ExecutionId, Limits};

/// Why no place is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The whole queue.
    #[error("the queue is full: {length} executions wait")]
    Queue {
        /// How many wait.
        length: u64,
    },
    /// The lane's part of it.
    #[error("the lane's queue is full: {length} executions wait in it")]
    Lane {
        /// How many wait in the lane.
        length: u64,
    },
}

impl Full {
    /// How many wait.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Queue { length } | Self::Lane { length } => *length,
        }
    }
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: ExecutionId,
    lane: Option<String>,
    conversation: String,
    /// It may not start yet: see [`super::parked`].
    pub(super) parked: bool,
}

/// How many executions may wait, in all and in one lane, and how many may run and start at once.
#[derive(Debug)]
struct QueueLimits {
    queued: u64,
    queued_per_lane: u64,
    running: u64,
    starting: u64,
}

/// What a running execution keeps from others.
#[derive(Debug)]
struct Held {
    lane: Option<String>,
    conversation: String,
}

/// Who waits and who runs. An execution without a lane waits for its conversation only.
#[derive(Debug)]
pub(super) struct Lanes {
    limits: QueueLimits,
    /// Reserved or waiting, per lane and in all.
    places: HashMap<Option<String>, u64>,
    taken: u64,
    pub(super) waiting: Vec<Waiting>,
    running: HashMap<ExecutionId, Held>,
    starting: HashSet<ExecutionId>,
}

impl Lanes {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: QueueLimits {
                queued: limits.queued,
                queued_per_lane: limits.queued_per_lane,
                running: limits.running_executions,
                starting: limits.simultaneous_starts,
            },
            places: HashMap::new(),
            taken: 0,
            waiting: Vec::new(),
            running: HashMap::new(),
            starting: HashSet::new(),
        }
    }

    pub(super) fn reserve(&mut self, lane: Option<&str>) -> Result<(), Full> {
        if self.taken >= self.limits.queued {
            return Err(Full::Queue { length: self.taken });
        }
        let lane = lane.map(str::to_owned);
        let length = self.places.get(&lane).copied().unwrap_or(0);
        if lane.is_some() && length >= self.limits.queued_per_lane {
            return Err(Full::Lane { length });
        }
        self.take(lane);
        Ok(())
    }

    pub(super) fn reserve_anyway(&mut self, lane: Option<&str>) {
        self.take(lane.map(str::to_owned));
    }

    fn take(&mut self, lane: Option<String>) {
        self.taken += 1;
        *self.places.entry(lane).or_default() += 1;
    }

    pub(super) fn give_back(&mut self, lane: Option<&str>) {
        let lane = lane.map(str::to_owned);
        self.taken = self.taken.saturating_sub(1);
        if let Some(count) = self.places.get_mut(&lane) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.places.remove(&lane);
            }
        }
    }

    /// Turns a reserved place into a waiting execution.
    pub(super) fn enter(&mut self, id: ExecutionId, lane: Option<&str>, conversation: &str) {
        self.waiting.push(Waiting {
            id,
            lane: lane.map(str::to_owned),
            conversation: conversation.to_owned(),
            parked: false,
        });
    }

    /// Moves those that may start now from waiting to running and names them, in order.
    pub(super) fn start(&mut self) -> Vec<ExecutionId> {
        let mut lanes: HashSet<&str> = HashSet::new();
        let mut conversations: HashSet<&str> = HashSet::new();
        for held in self.running.values() {
            lanes.extend(held.lane.as_deref());
            conversations.insert(&held.conversation);
        }
        let limits = &self.limits;
        let mut free = limits.running.saturating_sub(self.running.len() as u64);
        free = free.min(limits.starting.saturating_sub(self.starting.len() as u64));
        let mut chosen = HashSet::new();
        for waiting in &self.waiting {
            if free == 0 {
                break;
            }
            if waiting.parked {
                conversations.insert(&waiting.conversation);
                continue;
            }
            // Both are claimed even if one of them stands in the way: who comes later in either must not overtake.
            let lane_free = waiting
                .lane
                .as_deref()
                .is_none_or(|lane| lanes.insert(lane));
            let conversation_free = conversations.insert(&waiting.conversation);
            if lane_free && conversation_free {
                chosen.insert(waiting.id);
                free -= 1;
            }
        }
        let mut started = Vec::new();
        let mut lanes = Vec::new();
        self.waiting.retain_mut(|waiting| {
            if !chosen.contains(&waiting.id) {
                return true;
            }
            started.push(waiting.id);
            lanes.push(waiting.lane.clone());
            let held = Held {
                lane: waiting.lane.take(),
                conversation: std::mem::take(&mut waiting.conversation),
            };
            self.running.insert(waiting.id, held);
            self.starting.insert(waiting.id);
            false
        });
        for lane in lanes {
            self.give_back(lane.as_deref());
        }
        started
    }

    pub(super) fn started(&mut self, id: ExecutionId) {
        self.starting.remove(&id);
    }

    /// Leaves the queue, or releases the permit.
    pub(super) fn leave(&mut self, id: ExecutionId) {
        self.starting.remove(&id);
        if self.running.remove(&id).is_some() {
            return;
        }
        if let Some(at) = self.waiting.iter().position(|w| w.id == id) {
            let waiting = self.waiting.remove(at);
            self.give_back(waiting.lane.as_deref());
        }
    }

    pub(super) fn waits(&self, id: ExecutionId) -> bool {
        self.waiting.iter().any(|w| w.id == id)
    }

    pub(super) fn position(&self, id: ExecutionId) -> Option<u64> {
        self.waiting
            .iter()
            .filter(|w| !w.parked)
            .position(|w| w.id == id)
            .map(|at| at as u64)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    #[cfg(test)]
    pub(super) fn running(&self) -> u64 {
        self.running.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(running: u64, starts: u64) -> Limits {
        Limits {
            running_executions: running,
            simultaneous_starts: starts,
            queued: 6,
            queued_per_lane: 4,
            ..Limits::default()
        }
    }

    fn id(n: u128) -> ExecutionId {
        uuid::Uuid::from_u128(n).into()
    }

    fn submit(lanes: &mut Lanes, n: u128, lane: Option<&str>, conversation: &str) {
        lanes.reserve(lane).unwrap();
        lanes.enter(id(n), lane, conversation);
    }

    #[test]
    fn one_lane_runs_one_at_a_time_and_lanes_run_side_by_side() {
        let mut lanes = Lanes::new(&limits(8, 8));
        submit(&mut lanes, 1, Some("a"), "1");
        submit(&mut lanes, 2, Some("a"), "2");
        submit(&mut lanes, 3, Some("b"), "3");
        assert_eq!(lanes.start(), [id(1), id(3)]);
        assert_eq!(lanes.position(id(2)), Some(0));
        lanes.leave(id(3));
        assert_eq!(lanes.start(), []);
        lanes.leave(id(1));
        assert_eq!(lanes.start(), [id(2)]);
    }

    #[test]
    fn a_conversation_never_runs_twice_at_once_nor_is_it_overtaken() {
        let mut lanes = Lanes::new(&limits(8, 8));
        submit(&mut lanes, 1, Some("a"), "c");
        submit(&mut lanes, 2, Some("b"), "c");
        submit(&mut lanes, 3, Some("b"), "d");
        submit(&mut lanes, 4, None, "c");
        assert_eq!(lanes.start(), [id(1)], "3 waits behind 2 in lane b");
        lanes.leave(id(1));
        assert_eq!(lanes.start(), [id(2)]);
        lanes.leave(id(2));
        assert_eq!(lanes.start(), [id(3), id(4)]);
    }

    #[test]
    fn full_queues_say_so_and_places_come_back() {
        let mut lanes = Lanes::new(&limits(1, 1));
        for n in 0..4 {
            submit(&mut lanes, n, Some("a"), &n.to_string());
        }
        assert_eq!(lanes.reserve(Some("a")), Err(Full::Lane { length: 4 }));
        assert_eq!(lanes.start(), [id(0)]);
        assert_eq!(
            lanes.reserve(Some("a")),
            Ok(()),
            "a running one no longer waits"
        );
        lanes.give_back(Some("a"));
        for n in 10..13 {
            submit(&mut lanes, n, None, &n.to_string());
        }
        assert_eq!(lanes.reserve(None), Err(Full::Queue { length: 6 }));
        lanes.leave(id(1));
        assert_eq!(lanes.reserve(None), Ok(()));
    }

    #[test]
    fn starts_are_limited_apart() {
        let mut lanes = Lanes::new(&limits(8, 2));
        for n in 0..4 {
            submit(&mut lanes, n, None, &n.to_string());
        }
        assert_eq!(lanes.start(), [id(0), id(1)]);
        lanes.started(id(1));
        assert_eq!(lanes.start(), [id(2)]);
    }

    proptest! {
        /// Whatever is submitted and ends: the limits hold, no lane or conversation runs twice, each lane keeps its order,
        /// nothing waits without cause, and at the end every place is free.
        #[test]
        fn invariants(steps in proptest::collection::vec((0_u8..3, 0_usize..4, 0_usize..4), 1..120)) {
            let mut lanes = Lanes::new(&limits(3, 2));
            let mut accepted: Vec<(u128, String, String)> = Vec::new();
            let mut running: Vec<u128> = Vec::new();
            let mut started_order: HashMap<String, Vec<u128>> = HashMap::new();
            let mut next = 0_u128;
            for (what, lane, pick) in steps {
                match what {
                    0 => {
                        let (lane, conversation) = (format!("l{lane}"), format!("c{pick}"));
                        if lanes.reserve(Some(&lane)).is_ok() {
                            lanes.enter(id(next), Some(&lane), &conversation);
                            accepted.push((next, lane, conversation));
                            next += 1;
                        }
                    }
                    1 if !running.is_empty() => {
                        let gone = running.remove(pick % running.len());
                        lanes.leave(id(gone));
                    }
                    _ => for n in &running { lanes.started(id(*n)); },
                }
                for now in lanes.start() {
                    let n = now.uuid().as_u128();
                    running.push(n);
                    let lane = &accepted[n as usize].1;
                    started_order.entry(lane.clone()).or_default().push(n);
                }
                prop_assert!(running.len() <= 3 && lanes.starting.len() <= 2);
                for part in [1, 2] {
                    let keys: Vec<_> = running.iter().map(|n| if part == 1 { &accepted[*n as usize].1 } else { &accepted[*n as usize].2 }).collect();
                    prop_assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
                }
                prop_assert!(lanes.start().is_empty());
            }
            for order in started_order.values() {
                prop_assert!(order.is_sorted());
            }
            for n in 0..next {
                lanes.leave(id(n));
            }
            prop_assert_eq!((lanes.taken, lanes.places.len(), lanes.running(), lanes.waiting()), (0, 0, 0, 0));
        }
    }
}
