//! The queue of executions as a plain value, without locks or channels: which executions wait,
//! which run, and which may start next.

mod choose;

use std::collections::{HashMap, HashSet};

use protocol::{ExecutionId, Limits};
use spool::Owner;

/// The reason why an execution or a burned id did not get a slot of the queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// All slots of the queue are in use.
    #[error("the queue is full: {length} executions wait")]
    Queue {
        /// The number of slots in use: executions that wait, and burned ids.
        length: u64,
    },
    /// All slots of the queue are in use, by executions of several principals. No number is told: a
    /// principal does not learn how much the others run.
    #[error("the queue of the service is full")]
    SharedQueue,
    /// All slots that one principal may use are in use.
    #[error("your part of the queue is full: {length} of your executions wait")]
    Principal {
        /// The number of slots in use by the principal.
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
    /// Returns the number of slots in use, of the queue, the principal or the lane, whichever is
    /// full. `None` if the client must not learn it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Queue { length } | Self::Principal { length } | Self::Lane { length } => {
                Some(*length)
            }
            Self::SharedQueue => None,
        }
    }
}

/// A lane: a name that clients of one owner chose. The same name of two owners is two lanes.
pub(super) type Lane = (Owner, String);

/// An execution that waits in the queue, with the lane and the conversation that must be free
/// before it may start.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: ExecutionId,
    owner: Owner,
    lane: Option<Lane>,
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
    /// The maximum number of slots that one principal may use. It does not apply to executions
    /// without a principal.
    queued_per_principal: u64,
    /// The maximum number of executions that run.
    running: u64,
    /// The maximum number of executions whose CLI is starting.
    starting: u64,
    /// The maximum number of running executions that do not count, because they wait for a person.
    awaiting_input: u64,
}

/// The lane and the conversation that a running execution occupies: no other execution of either
/// may start.
#[derive(Debug)]
struct RunningExecution {
    owner: Owner,
    lane: Option<Lane>,
    conversation: String,
}

/// The executions that wait and that run. Executions of one lane run one at a time, in the order of
/// acceptance, and so do executions of one conversation. An execution without a lane waits only for
/// its conversation.
///
/// Owners share the permits fairly: a free permit goes to the owner with the fewest running
/// executions; if several have as few, to the one whose last permit is the longest ago. Among its
/// executions it goes to the one that was accepted first.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    /// The number of slots in use per lane, by reservations and by waiting executions. `None` is
    /// the key of executions without a lane and of burned ids.
    slots_by_lane: HashMap<Option<Lane>, u64>,
    /// The number of slots in use per owner.
    slots_by_owner: HashMap<Owner, u64>,
    /// The total number of slots in use.
    slots_in_use: u64,
    /// The executions that wait, in the order of acceptance.
    pub(super) waiting: Vec<Waiting>,
    /// The executions that have a permit to run, with what they occupy.
    running: HashMap<ExecutionId, RunningExecution>,
    /// The running executions whose CLI has not started yet.
    starting: HashSet<ExecutionId>,
    /// The running executions that wait for a person. Up to `limits.awaiting_input` of them
    /// hold no permit, so others may run in their place. When a person has answered, the execution
    /// continues at once, so more than `limits.running` may run until one of them ends.
    awaiting_input: HashSet<ExecutionId>,
    /// The maximum number of running executions of each owner that has such a limit.
    running_limits: HashMap<Owner, u64>,
    /// The number of the last permit of each owner that waits or runs. Permits are numbered in the
    /// order in which they are given.
    last_permits: HashMap<Owner, u64>,
    /// The number of the last permit of all.
    last_permit: u64,
}

impl Queue {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: QueueLimits {
                queued: limits.queued,
                queued_per_lane: limits.queued_per_lane,
                queued_per_principal: limits.queued_per_principal,
                running: limits.running_executions,
                starting: limits.simultaneous_starts,
                awaiting_input: limits.waiting_executions,
            },
            slots_by_lane: HashMap::new(),
            slots_by_owner: HashMap::new(),
            slots_in_use: 0,
            waiting: Vec::new(),
            running: HashMap::new(),
            starting: HashSet::new(),
            awaiting_input: HashSet::new(),
            running_limits: HashMap::new(),
            last_permits: HashMap::new(),
            last_permit: 0,
        }
    }

    /// Sets the maximum number of running executions of each owner that has such a limit. A lower
    /// limit than before ends no running execution.
    pub(super) fn set_running_limits(&mut self, limits: HashMap<Owner, u64>) {
        self.running_limits = limits;
    }

    /// Reserves a slot for an execution of `owner` in `lane`; `None` is an execution without a
    /// lane. Fails if the queue, or the part of it for the owner or the lane, is full.
    pub(super) fn reserve(&mut self, owner: Owner, lane: Option<&str>) -> Result<(), QueueFull> {
        let of_owner = self.slots_by_owner.get(&owner).copied().unwrap_or(0);
        if owner != Owner::NONE && of_owner >= self.limits.queued_per_principal {
            return Err(QueueFull::Principal { length: of_owner });
        }
        if self.slots_in_use >= self.limits.queued {
            return Err(match owner {
                Owner::NONE => QueueFull::Queue {
                    length: self.slots_in_use,
                },
                _ => QueueFull::SharedQueue,
            });
        }
        let lane = lane.map(|lane| (owner, lane.to_owned()));
        let length = self.slots_by_lane.get(&lane).copied().unwrap_or(0);
        if lane.is_some() && length >= self.limits.queued_per_lane {
            return Err(QueueFull::Lane { length });
        }
        self.acquire_slot(owner, lane);
        Ok(())
    }

    /// Reserves a slot even if the queue is full, for an execution or burned id that is on disk
    /// already.
    pub(super) fn reserve_beyond_limits(&mut self, owner: Owner, lane: Option<&str>) {
        self.acquire_slot(owner, lane.map(|lane| (owner, lane.to_owned())));
    }

    fn acquire_slot(&mut self, owner: Owner, lane: Option<Lane>) {
        self.slots_in_use += 1;
        *self.slots_by_owner.entry(owner).or_default() += 1;
        *self.slots_by_lane.entry(lane).or_default() += 1;
    }

    /// Releases one slot of `owner` in `lane`.
    pub(super) fn release_slot(&mut self, owner: Owner, lane: Option<&str>) {
        self.slots_in_use = self.slots_in_use.saturating_sub(1);
        let lane = lane.map(|lane| (owner, lane.to_owned()));
        decrement(&mut self.slots_by_lane, &lane);
        decrement(&mut self.slots_by_owner, &owner);
    }

    /// Adds an execution at the end of the queue, in the slot that was reserved for it.
    pub(super) fn enter(
        &mut self,
        id: ExecutionId,
        owner: Owner,
        lane: Option<&str>,
        conversation: &str,
    ) {
        self.waiting.push(Waiting {
            id,
            owner,
            lane: lane.map(|lane| (owner, lane.to_owned())),
            conversation: conversation.to_owned(),
            parked: false,
        });
    }

    /// Moves all executions that may start now from waiting to running. Returns their ids in the
    /// order in which they get their permits; empty if none may start.
    ///
    /// No execution overtakes an earlier one of its lane or its conversation. A parked execution,
    /// which may not start yet, blocks its conversation but not its lane.
    pub(super) fn start(&mut self) -> Vec<ExecutionId> {
        let limits = &self.limits;
        let awaiting_input = (self.awaiting_input.len() as u64).min(limits.awaiting_input);
        let free = (limits.running + awaiting_input).saturating_sub(self.running.len() as u64);
        let free = free.min(limits.starting.saturating_sub(self.starting.len() as u64));
        if free == 0 || self.waiting.is_empty() {
            return Vec::new();
        }
        let chosen = self.choose(free);
        let mut started = Vec::new();
        for id in chosen {
            let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) else {
                continue;
            };
            let Waiting {
                owner,
                lane,
                conversation,
                ..
            } = self.waiting.remove(at);
            let name = lane.as_ref().map(|(_, name)| name.as_str());
            self.release_slot(owner, name);
            let held = RunningExecution {
                owner,
                lane,
                conversation,
            };
            self.last_permit += 1;
            self.last_permits.insert(owner, self.last_permit);
            self.running.insert(id, held);
            self.starting.insert(id);
            started.push(id);
        }
        started
    }

    /// Notes that the CLI of an execution has started, so that another CLI may start.
    pub(super) fn started(&mut self, id: ExecutionId) {
        self.starting.remove(&id);
    }

    /// Notes whether a running execution waits for a person or for a message of a client.
    pub(super) fn set_waiting(&mut self, id: ExecutionId, waits: bool) {
        if waits && self.running.contains_key(&id) {
            self.awaiting_input.insert(id);
        } else {
            self.awaiting_input.remove(&id);
        }
    }

    /// Removes an execution that waits or runs. A running execution frees its permit, its lane and
    /// its conversation; a waiting one frees its slot. Has no effect for an unknown id.
    pub(super) fn leave(&mut self, id: ExecutionId) {
        self.starting.remove(&id);
        self.awaiting_input.remove(&id);
        if let Some(held) = self.running.remove(&id) {
            self.forget_if_idle(held.owner);
            return;
        }
        if let Some(at) = self.waiting.iter().position(|w| w.id == id) {
            let Waiting { owner, lane, .. } = self.waiting.remove(at);
            self.release_slot(owner, lane.as_ref().map(|(_, name)| name.as_str()));
            self.forget_if_idle(owner);
        }
    }

    /// Forgets the last permit of an owner of whom nothing waits or runs any more.
    fn forget_if_idle(&mut self, owner: Owner) {
        let runs = self.running.values().any(|held| held.owner == owner);
        if !runs && !self.waiting.iter().any(|waiting| waiting.owner == owner) {
            self.last_permits.remove(&owner);
        }
    }

    /// Returns whether an execution waits in the queue, parked ones included.
    pub(super) fn waits(&self, id: ExecutionId) -> bool {
        self.waiting.iter().any(|w| w.id == id)
    }

    /// Returns how many executions of the same owner that are not parked are ahead of this one.
    /// `None` if it is parked or does not wait.
    pub(super) fn position(&self, id: ExecutionId) -> Option<u64> {
        let owner = self.waiting.iter().find(|w| w.id == id)?.owner;
        self.waiting
            .iter()
            .filter(|w| !w.parked && w.owner == owner)
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

/// Subtracts one from a count, and removes it at 0.
fn decrement<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
