//! The choice of the executions that start next.

use std::collections::{HashMap, HashSet, VecDeque};

use protocol::ExecutionId;
use spool::Owner;

use super::{Lane, Queue, Waiting};

/// The number of running executions of each owner that has any.
type RunningByOwner = HashMap<Owner, u64>;

impl Queue {
    /// Chooses at most `free` waiting executions that may start now.
    pub(super) fn choose(&self, free: u64) -> Vec<ExecutionId> {
        let mut running = self.running_by_owner();
        // Per owner, in the order of acceptance.
        let mut eligible: HashMap<Owner, VecDeque<(usize, ExecutionId)>> = HashMap::new();
        for (position, waiting) in self.eligible() {
            let queue = eligible.entry(waiting.owner).or_default();
            queue.push_back((position, waiting.id));
        }
        let mut last_permits = self.last_permits.clone();
        let mut chosen = Vec::new();
        while (chosen.len() as u64) < free {
            let count = |owner: &Owner| running.get(owner).copied().unwrap_or(0);
            let may_run = |owner: &Owner| {
                let limit = self.running_limits.get(owner);
                limit.is_none_or(|limit| count(owner) < *limit)
            };
            let next = eligible
                .iter()
                .filter_map(|(owner, queue)| Some((*owner, *queue.front()?)))
                .filter(|(owner, _)| may_run(owner))
                .min_by_key(|(owner, (position, _))| {
                    let last = last_permits.get(owner).copied().unwrap_or(0);
                    (count(owner), last, *position)
                });
            let Some((owner, (_, id))) = next else { break };
            eligible.entry(owner).or_default().pop_front();
            *running.entry(owner).or_default() += 1;
            let number = self.last_permit + 1 + chosen.len() as u64;
            last_permits.insert(owner, number);
            chosen.push(id);
        }
        chosen
    }

    /// Counts the running executions of each owner. Those that wait for a person do not count, so
    /// that an owner whose executions all wait may start another one. But of an owner with a limit
    /// at most that many do not count: otherwise it could hold all permits of the service.
    fn running_by_owner(&self) -> RunningByOwner {
        let mut running: RunningByOwner = HashMap::new();
        let mut waits: RunningByOwner = HashMap::new();
        for (id, held) in &self.running {
            *running.entry(held.owner).or_default() += 1;
            *waits.entry(held.owner).or_default() += u64::from(self.awaiting_input.contains(id));
        }
        for (owner, count) in &mut running {
            let limit = self.running_limits.get(owner).copied();
            *count -= waits[owner].min(limit.unwrap_or(u64::MAX));
        }
        running
    }

    /// Returns the waiting executions whose lane and conversation are free, each with its position,
    /// in the order of acceptance. At most one of each lane and conversation.
    fn eligible(&self) -> Vec<(usize, &Waiting)> {
        let mut lanes: HashSet<&Lane> = HashSet::new();
        let mut conversations: HashSet<&str> = HashSet::new();
        for held in self.running.values() {
            lanes.extend(&held.lane);
            conversations.insert(&held.conversation);
        }
        let mut eligible = Vec::new();
        for (position, waiting) in self.waiting.iter().enumerate() {
            if waiting.parked {
                conversations.insert(&waiting.conversation);
                continue;
            }
            // Claim both even if one of them is busy: a later execution of either must not
            // overtake.
            let lane_free = waiting.lane.as_ref().is_none_or(|lane| lanes.insert(lane));
            let conversation_free = conversations.insert(&waiting.conversation);
            if lane_free && conversation_free {
                eligible.push((position, waiting));
            }
        }
        eligible
    }
}
