//! The grants without a lock: what each order and each request changes.

use std::collections::HashMap;

use grants::{GrantHash, Registration};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The maximum number of open requests of one grant. The CLI with its sub-agents opens about ten.
pub const OPEN_REQUESTS: usize = 16;

/// The maximum number of grants. claude-api registers one for each running execution; this bound
/// does not depend on that. A grant takes a place when it is registered, and frees it at its end. A
/// further one is not registered, so its requests get 401.
pub const GRANTS: usize = 16 * 1024;

/// The reason why a request is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The grants are not known at the moment.
    NotSynced,
    /// The grant is not in force.
    Unknown,
    /// The cost limit of the execution or of its principal is reached.
    CostLimit,
    /// The open requests of the execution may reach its cost limit. Their final cost is not known.
    OpenCosts,
    /// The grant has [`OPEN_REQUESTS`] open requests.
    TooMany,
}

/// The grants, and the state of the control connection.
#[derive(Debug, Default)]
pub(super) struct State {
    connection: Connection,
    /// Counts the control connections, so that late orders of an earlier one have no effect.
    generation: u64,
    executions: HashMap<String, Entry>,
    /// The execution of each registered grant.
    by_hash: HashMap<GrantHash, String>,
}

/// The state of the control connection, as in the diagram of the module above.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Connection {
    #[default]
    Away,
    Syncing,
    Synced,
}

/// An execution with a grant.
#[derive(Debug)]
struct Entry {
    hash: GrantHash,
    /// The connection on which the grant was registered last.
    generation: u64,
    /// The most that the execution may cost, in US dollars.
    max_cost_usd: Option<f64>,
    /// What its requests have cost, in US dollars.
    spent_usd: f64,
    /// What its open requests have cost so far, in US dollars.
    open_usd: f64,
    /// Whether the budget of its principal is used up.
    is_exhausted: bool,
    open_requests: usize,
    /// Tracks the open requests: one token each. It is closed when the grant ends.
    tracker: TaskTracker,
    /// Cancelled when the open requests must end.
    cut: CancellationToken,
}

/// A request that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// The execution.
    pub(super) execution_id: String,
    /// Cancelled when the request must end.
    pub(super) cut: CancellationToken,
    /// Counts the request until it is dropped.
    pub(super) _tracked: TaskTrackerToken,
}

impl State {
    /// Begins a control connection, and returns its number.
    pub(super) fn connect(&mut self) -> u64 {
        self.generation += 1;
        self.connection = Connection::Syncing;
        self.generation
    }

    /// Returns whether this connection is the newest one.
    pub(super) fn is_newest(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// Ends the newest control connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = Connection::Away;
    }

    /// Opens a request with the grant that a client presents.
    pub(super) fn open(&mut self, presented: Option<&str>) -> Result<Opened, Denied> {
        if self.connection != Connection::Synced {
            return Err(Denied::NotSynced);
        }
        let hash = GrantHash::of(presented.ok_or(Denied::Unknown)?);
        let id = self.by_hash.get(&hash).ok_or(Denied::Unknown)?;
        let entry = self.executions.get_mut(id).ok_or(Denied::Unknown)?;
        if entry.generation != self.generation {
            return Err(Denied::Unknown);
        }
        let reaches_limit = |cost_usd| entry.max_cost_usd.is_some_and(|most| cost_usd >= most);
        if reaches_limit(entry.spent_usd) || entry.is_exhausted {
            return Err(Denied::CostLimit);
        }
        if reaches_limit(entry.spent_usd + entry.open_usd) {
            return Err(Denied::OpenCosts);
        }
        if entry.open_requests == OPEN_REQUESTS {
            return Err(Denied::TooMany);
        }
        entry.open_requests += 1;
        Ok(Opened {
            execution_id: id.clone(),
            cut: entry.cut.clone(),
            _tracked: entry.tracker.token(),
        })
    }

    /// Closes a request.
    pub(super) fn close(&mut self, execution_id: &str) {
        if let Some(entry) = self.executions.get_mut(execution_id) {
            entry.open_requests = entry.open_requests.saturating_sub(1);
            if entry.open_requests == 0 {
                // This removes the errors of the additions.
                entry.open_usd = 0.0;
            }
        }
    }

    /// Changes the cost of the open requests of an execution by an amount in US dollars.
    pub(super) fn count(&mut self, execution_id: &str, change_usd: f64) {
        if let Some(entry) = self.executions.get_mut(execution_id) {
            entry.open_usd = (entry.open_usd + change_usd).max(0.0);
        }
    }

    /// Adds a cost in US dollars, and returns the cost of all requests of the execution so far.
    pub(super) fn charge(&mut self, execution_id: &str, cost_usd: f64) -> f64 {
        match self.executions.get_mut(execution_id) {
            Some(entry) => {
                entry.spent_usd += cost_usd;
                entry.spent_usd
            }
            // The execution has ended. claude-api has its earlier sum.
            None => cost_usd,
        }
    }

    /// Registers a grant, or replaces the grant of the same execution. Returns false without a free
    /// place.
    pub(super) fn register(&mut self, registration: Registration) -> bool {
        let Registration {
            execution_id,
            hash,
            principal: _,
            max_cost_usd,
            spent_usd,
        } = registration;
        let is_known = self.executions.contains_key(&execution_id);
        if !is_known && self.executions.len() >= GRANTS {
            return false;
        }
        let generation = self.generation;
        let entry = self.executions.entry(execution_id.clone());
        let entry = entry.or_insert_with(|| Entry {
            hash: hash.clone(),
            generation,
            max_cost_usd,
            spent_usd,
            open_usd: 0.0,
            is_exhausted: false,
            open_requests: 0,
            tracker: TaskTracker::new(),
            cut: CancellationToken::new(),
        });
        let replaced = std::mem::replace(&mut entry.hash, hash.clone());
        entry.generation = generation;
        entry.max_cost_usd = max_cost_usd;
        entry.spent_usd = entry.spent_usd.max(spent_usd);
        entry.is_exhausted = false;
        self.by_hash.remove(&replaced);
        self.by_hash.insert(hash, execution_id);
        true
    }

    /// Puts the registered grants in force, and ends the executions that the newest connection has
    /// not registered.
    pub(super) fn synced(&mut self) {
        self.connection = Connection::Synced;
        let generation = self.generation;
        let ended = self
            .executions
            .extract_if(|_, entry| entry.generation != generation);
        let ended: Vec<_> = ended.collect();
        for (id, entry) in ended {
            self.end(&id, &entry);
        }
    }

    /// Ends the grant of an execution, and cuts its open requests. Returns their tracker. `None`
    /// for an unknown execution.
    pub(super) fn revoke(&mut self, execution_id: &str) -> Option<TaskTracker> {
        let entry = self.executions.remove(execution_id)?;
        self.end(execution_id, &entry);
        Some(entry.tracker)
    }

    /// Refuses further requests of an execution.
    pub(super) fn exhaust(&mut self, execution_id: &str) {
        if let Some(entry) = self.executions.get_mut(execution_id) {
            entry.is_exhausted = true;
        }
    }

    /// Removes the grant of an execution whose entry was removed, and cuts its open requests.
    fn end(&mut self, execution_id: &str, entry: &Entry) {
        let own = self.by_hash.get(&entry.hash);
        if own.is_some_and(|own| own == execution_id) {
            self.by_hash.remove(&entry.hash);
        }
        entry.tracker.close();
        entry.cut.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_or_replaced_grant_leaves_no_hash() {
        let mut state = State::default();
        let registration = |grant: &str| Registration {
            execution_id: "e".to_owned(),
            hash: GrantHash::of(grant),
            principal: None,
            max_cost_usd: None,
            spent_usd: 0.0,
        };
        state.connect();
        state.register(registration("g"));
        state.register(registration("h"));
        assert_eq!(state.by_hash.len(), 1);
        assert!(state.revoke("e").is_some());
        assert!(state.by_hash.is_empty());
        // A connection that does not register the grant again ends it, too.
        state.register(registration("g"));
        state.connect();
        state.synced();
        assert!(state.by_hash.is_empty());
    }
}
