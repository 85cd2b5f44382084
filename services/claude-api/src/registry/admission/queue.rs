//! The queue of executions as a plain value, without locks or channels: which executions wait,
//! which run, and which may start next.

use std::collections::{HashMap, HashSet};

use protocol::{ExecutionId, Limits};

/// The reason why an execution or a burned id did not get a slot of the queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// All slots of the queue are in use.
    #[error("the queue is full: {length} executions wait")]
    Queue {
        /// The number of slots in use: executions that wait, and burned ids.
        length: u64,
    },
    /// All slots that one lane may use are in use.
    #[error("the lane's queue is full: {length} executions wait in it")]
    Lane {
        /// The number of slots in use by the lane.
        length: u64,
    },
}

impl QueueFull {
    /// Returns the number of slots in use, of the whole queue or of the lane, whichever is full.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Queue { length } | Self::Lane { length } => *length,
        }
    }
}

/// An execution that waits in the queue, with the lane and the conversation that must be free
/// before it may start.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: ExecutionId,
    lane: Option<String>,
    conversation: String,
    /// Whether the execution may not start yet, because its time `notBefore` has not come.
    pub(super) parked: bool,
}

/// The limits of the queue, as numbers of executions: how many may wait, wait in one lane, run, and
/// be starting their CLI at the same time.
#[derive(Debug)]
struct QueueLimits {
    /// The maximum number of slots in use.
    queued: u64,
    /// The maximum number of slots that one lane may use.
    queued_per_lane: u64,
    /// The maximum number of executions that run.
    running: u64,
    /// The maximum number of executions whose CLI is starting.
    starting: u64,
}

/// The lane and the conversation that a running execution occupies: no other execution of either
/// may start.
#[derive(Debug)]
struct RunningExecution {
    lane: Option<String>,
    conversation: String,
}

/// The executions that wait and that run. Executions of one lane run one at a time, in the order of
/// acceptance, and so do executions of one conversation. An execution without a lane waits only for
/// its conversation.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    /// The number of slots in use per lane, by reservations and by waiting executions. `None` is
    /// the key of executions without a lane and of burned ids.
    slots_by_lane: HashMap<Option<String>, u64>,
    /// The total number of slots in use.
    slots_in_use: u64,
    /// The executions that wait, in the order of acceptance.
    pub(super) waiting: Vec<Waiting>,
    /// The executions that have a permit to run, with what they occupy.
    running: HashMap<ExecutionId, RunningExecution>,
    /// The running executions whose CLI has not started yet.
    starting: HashSet<ExecutionId>,
}

impl Queue {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: QueueLimits {
                queued: limits.queued,
                queued_per_lane: limits.queued_per_lane,
                running: limits.running_executions,
                starting: limits.simultaneous_starts,
            },
            slots_by_lane: HashMap::new(),
            slots_in_use: 0,
            waiting: Vec::new(),
            running: HashMap::new(),
            starting: HashSet::new(),
        }
    }

    /// Reserves a slot for an execution of `lane`; `None` is an execution without a lane. Fails if
    /// the queue or the lane's part of it is full.
    pub(super) fn reserve(&mut self, lane: Option<&str>) -> Result<(), QueueFull> {
        if self.slots_in_use >= self.limits.queued {
            return Err(QueueFull::Queue {
                length: self.slots_in_use,
            });
        }
        let lane = lane.map(str::to_owned);
        let length = self.slots_by_lane.get(&lane).copied().unwrap_or(0);
        if lane.is_some() && length >= self.limits.queued_per_lane {
            return Err(QueueFull::Lane { length });
        }
        self.acquire_slot(lane);
        Ok(())
    }

    /// Reserves a slot even if the queue is full, for an execution or burned id that is on disk
    /// already.
    pub(super) fn reserve_beyond_limits(&mut self, lane: Option<&str>) {
        self.acquire_slot(lane.map(str::to_owned));
    }

    fn acquire_slot(&mut self, lane: Option<String>) {
        self.slots_in_use += 1;
        *self.slots_by_lane.entry(lane).or_default() += 1;
    }

    /// Releases one slot of `lane`.
    pub(super) fn release_slot(&mut self, lane: Option<&str>) {
        let lane = lane.map(str::to_owned);
        self.slots_in_use = self.slots_in_use.saturating_sub(1);
        if let Some(count) = self.slots_by_lane.get_mut(&lane) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.slots_by_lane.remove(&lane);
            }
        }
    }

    /// Adds an execution at the end of the queue, in the slot that was reserved for it.
    pub(super) fn enter(&mut self, id: ExecutionId, lane: Option<&str>, conversation: &str) {
        self.waiting.push(Waiting {
            id,
            lane: lane.map(str::to_owned),
            conversation: conversation.to_owned(),
            parked: false,
        });
    }

    /// Moves all executions that may start now from waiting to running. Returns their ids in the
    /// order of acceptance; empty if none may start.
    ///
    /// No execution overtakes an earlier one of its lane or its conversation. A parked execution,
    /// which may not start yet, blocks its conversation but not its lane.
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
            // Claim both even if one of them is busy: a later execution of either must not
            // overtake.
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
            let held = RunningExecution {
                lane: waiting.lane.take(),
                conversation: std::mem::take(&mut waiting.conversation),
            };
            self.running.insert(waiting.id, held);
            self.starting.insert(waiting.id);
            false
        });
        for lane in lanes {
            self.release_slot(lane.as_deref());
        }
        started
    }

    /// Notes that the CLI of an execution has started, so that another CLI may start.
    pub(super) fn started(&mut self, id: ExecutionId) {
        self.starting.remove(&id);
    }

    /// Removes an execution that waits or runs. A running execution frees its permit, its lane and
    /// its conversation; a waiting one frees its slot. Has no effect for an unknown id.
    pub(super) fn leave(&mut self, id: ExecutionId) {
        self.starting.remove(&id);
        if self.running.remove(&id).is_some() {
            return;
        }
        if let Some(at) = self.waiting.iter().position(|w| w.id == id) {
            let waiting = self.waiting.remove(at);
            self.release_slot(waiting.lane.as_deref());
        }
    }

    /// Returns whether an execution waits in the queue, parked ones included.
    pub(super) fn waits(&self, id: ExecutionId) -> bool {
        self.waiting.iter().any(|w| w.id == id)
    }

    /// Returns how many executions that are not parked are ahead of this one. `None` if it is
    /// parked or does not wait.
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

    fn submit(queue: &mut Queue, n: u128, lane: Option<&str>, conversation: &str) {
        queue.reserve(lane).unwrap();
        queue.enter(id(n), lane, conversation);
    }

    #[test]
    fn a_lane_runs_one_execution_at_a_time_and_lanes_run_in_parallel() {
        let mut queue = Queue::new(&limits(8, 8));
        submit(&mut queue, 1, Some("a"), "1");
        submit(&mut queue, 2, Some("a"), "2");
        submit(&mut queue, 3, Some("b"), "3");
        assert_eq!(queue.start(), [id(1), id(3)]);
        assert_eq!(queue.position(id(2)), Some(0));
        queue.leave(id(3));
        assert_eq!(queue.start(), []);
        queue.leave(id(1));
        assert_eq!(queue.start(), [id(2)]);
    }

    #[test]
    fn a_conversation_runs_one_execution_at_a_time_in_the_order_accepted() {
        let mut queue = Queue::new(&limits(8, 8));
        submit(&mut queue, 1, Some("a"), "c");
        submit(&mut queue, 2, Some("b"), "c");
        submit(&mut queue, 3, Some("b"), "d");
        submit(&mut queue, 4, None, "c");
        assert_eq!(queue.start(), [id(1)], "3 waits for 2 in lane b");
        queue.leave(id(1));
        assert_eq!(queue.start(), [id(2)]);
        queue.leave(id(2));
        assert_eq!(queue.start(), [id(3), id(4)]);
    }

    #[test]
    fn a_full_queue_refuses_until_a_slot_is_released() {
        let mut queue = Queue::new(&limits(1, 1));
        for n in 0..4 {
            submit(&mut queue, n, Some("a"), &n.to_string());
        }
        assert_eq!(queue.reserve(Some("a")), Err(QueueFull::Lane { length: 4 }));
        assert_eq!(queue.start(), [id(0)]);
        assert_eq!(
            queue.reserve(Some("a")),
            Ok(()),
            "a running execution uses no slot"
        );
        queue.release_slot(Some("a"));
        for n in 10..13 {
            submit(&mut queue, n, None, &n.to_string());
        }
        assert_eq!(queue.reserve(None), Err(QueueFull::Queue { length: 6 }));
        queue.leave(id(1));
        assert_eq!(queue.reserve(None), Ok(()));
    }

    #[test]
    fn simultaneous_starts_have_their_own_limit() {
        let mut queue = Queue::new(&limits(8, 2));
        for n in 0..4 {
            submit(&mut queue, n, None, &n.to_string());
        }
        assert_eq!(queue.start(), [id(0), id(1)]);
        queue.started(id(1));
        assert_eq!(queue.start(), [id(2)]);
    }

    proptest! {
        /// For any submissions and ends: the limits hold, no lane or conversation runs twice, each
        /// lane keeps its order, nothing waits without cause, and at the end every slot is free.
        #[test]
        fn the_queue_keeps_its_limits_and_the_order_of_each_lane(
            steps in proptest::collection::vec((0_u8..3, 0_usize..4, 0_usize..4), 1..120)
        ) {
            let mut queue = Queue::new(&limits(3, 2));
            let mut accepted: Vec<(u128, String, String)> = Vec::new();
            let mut running: Vec<u128> = Vec::new();
            let mut started_order: HashMap<String, Vec<u128>> = HashMap::new();
            let mut next = 0_u128;
            for (action, lane, pick) in steps {
                match action {
                    0 => {
                        let (lane, conversation) = (format!("l{lane}"), format!("c{pick}"));
                        if queue.reserve(Some(&lane)).is_ok() {
                            queue.enter(id(next), Some(&lane), &conversation);
                            accepted.push((next, lane, conversation));
                            next += 1;
                        }
                    }
                    1 if !running.is_empty() => {
                        let ended = running.remove(pick % running.len());
                        queue.leave(id(ended));
                    }
                    _ => for n in &running { queue.started(id(*n)); },
                }
                for started in queue.start() {
                    let n = started.uuid().as_u128();
                    running.push(n);
                    let lane = &accepted[n as usize].1;
                    started_order.entry(lane.clone()).or_default().push(n);
                }
                prop_assert!(running.len() <= 3 && queue.starting.len() <= 2);
                let keys = || running.iter().map(|n| &accepted[*n as usize]);
                let busy_lanes: HashSet<_> = keys().map(|(_, lane, _)| lane).collect();
                let conversations: HashSet<_> = keys().map(|(_, _, c)| c).collect();
                prop_assert_eq!(busy_lanes.len(), running.len());
                prop_assert_eq!(conversations.len(), running.len());
                prop_assert!(queue.start().is_empty());
            }
            for order in started_order.values() {
                prop_assert!(order.is_sorted());
            }
            for n in 0..next {
                queue.leave(id(n));
            }
            prop_assert_eq!((queue.slots_in_use, queue.slots_by_lane.len()), (0, 0));
            prop_assert_eq!((queue.running(), queue.waiting()), (0, 0));
        }
    }
}
