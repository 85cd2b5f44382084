//! The live executions of a session: those that it executed or attached to, and that are not known
//! to have ended. Pure.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use protocol::{ExecutionId, Status};

/// The most executions that a session remembers; the oldest is forgotten first.
const MOST: usize = 4096;

#[derive(Debug)]
struct Entry {
    created: Timestamp,
    cancel_on_disconnect: bool,
}

/// The live executions of one session.
#[derive(Debug, Default)]
pub struct LiveExecutions {
    entries: HashMap<ExecutionId, Entry>,
    /// Executions to cancel on disconnect whose acceptance is unknown.
    doubtful: HashSet<ExecutionId>,
}

impl LiveExecutions {
    /// Notes the execution of a status from claude-api; a terminal one is forgotten.
    pub fn remember(&mut self, status: &Status, cancel_on_disconnect: bool) {
        let id = status.execution_id;
        if status.state.is_terminal() {
            self.forget(id);
            return;
        }
        if self.entries.len() >= MOST
            && !self.entries.contains_key(&id)
            && let Some(oldest) = self.oldest_first().first()
        {
            self.entries.remove(oldest);
        }
        let entry = self.entries.entry(id).or_insert(Entry {
            created: status.created_at,
            cancel_on_disconnect: false,
        });
        entry.cancel_on_disconnect |= cancel_on_disconnect;
    }

    /// Notes an execution with `onDisconnect: "cancel"` whose acceptance is unknown.
    pub fn doubt(&mut self, id: ExecutionId) {
        if self.doubtful.len() < MOST {
            self.doubtful.insert(id);
        }
    }

    /// Forgets an execution that has ended, or that claude-api does not know.
    pub fn forget(&mut self, id: ExecutionId) {
        self.entries.remove(&id);
        self.doubtful.remove(&id);
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

    /// Returns the executions to cancel when nobody attaches after the session is gone.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let known = entries.filter(|(_, e)| e.cancel_on_disconnect);
        let known = known.map(|(id, _)| *id);
        known.chain(self.doubtful.iter().copied()).collect()
    }
}
