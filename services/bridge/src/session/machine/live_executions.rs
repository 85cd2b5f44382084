//! The live executions of a session: it started or attached to them, and they are not known to have
//! ended. Pure.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use protocol::{ExecutionId, Status};

/// The most executions that a session remembers; the oldest is forgotten first.
const CAPACITY: usize = 4096;

#[derive(Debug)]
struct LiveExecution {
    created: Timestamp,
    cancel_on_disconnect: bool,
}

/// The live executions of one session.
#[derive(Debug, Default)]
pub struct LiveExecutions {
    entries: HashMap<ExecutionId, LiveExecution>,
    /// Executions to cancel on disconnect whose acceptance is unknown.
    maybe_accepted: HashSet<ExecutionId>,
}

impl LiveExecutions {
    /// Notes the execution of a status from claude-api; a terminal one is forgotten.
    pub fn remember(&mut self, status: &Status, cancel_on_disconnect: bool) {
        let id = status.execution_id;
        if status.state.is_terminal() {
            self.forget(id);
            return;
        }
        if self.entries.len() >= CAPACITY
            && !self.entries.contains_key(&id)
            && let Some(oldest) = self.oldest_first().first()
        {
            self.entries.remove(oldest);
        }
        let entry = self.entries.entry(id).or_insert(LiveExecution {
            created: status.created_at,
            cancel_on_disconnect: false,
        });
        entry.cancel_on_disconnect |= cancel_on_disconnect;
    }

    /// Notes an execution with `onDisconnect: "cancel"` whose acceptance is unknown.
    pub fn note_maybe_accepted(&mut self, id: ExecutionId) {
        if self.maybe_accepted.len() < CAPACITY {
            self.maybe_accepted.insert(id);
        }
    }

    /// Forgets an execution that has ended, or that claude-api does not know.
    pub fn forget(&mut self, id: ExecutionId) {
        self.entries.remove(&id);
        self.maybe_accepted.remove(&id);
    }

    /// Whether claude-api is known to have this execution.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns all executions by their creation, the oldest first.
    #[must_use]
    pub fn oldest_first(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let mut all: Vec<_> = entries.map(|(id, e)| (e.created, *id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns the executions to cancel if no client attaches after the end of the session.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let known = entries.filter(|(_, e)| e.cancel_on_disconnect);
        let known = known.map(|(id, _)| *id);
        known.chain(self.maybe_accepted.iter().copied()).collect()
    }
}
