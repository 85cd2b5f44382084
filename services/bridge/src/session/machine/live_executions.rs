//! The live executions of a session: those that it has started or attached to and that are not
//! known to have ended. A request without an `executionId` is about the oldest one. Pure.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use protocol::{ExecutionId, Status};

/// The most live executions that a session remembers. The oldest is forgotten first.
const CAPACITY: usize = 4096;

#[derive(Debug)]
struct LiveExecution {
    created: Timestamp,
    cancel_on_disconnect: bool,
}

/// The executions that a session has started or attached to and that are not known to have ended.
#[derive(Debug, Default)]
pub struct LiveExecutions {
    entries: HashMap<ExecutionId, LiveExecution>,
    /// Executions with `onDisconnect: "cancel"` of which it is unknown whether claude-api accepted
    /// them.
    maybe_accepted: HashSet<ExecutionId>,
}

impl LiveExecutions {
    /// Adds the execution of this status, or forgets it if the status is terminal.
    /// `cancel_on_disconnect`: whether it is cancelled after the end of the session.
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

    /// Adds an execution with `onDisconnect: "cancel"` that claude-api may or may not have
    /// accepted.
    pub fn note_maybe_accepted(&mut self, id: ExecutionId) {
        if self.maybe_accepted.len() < CAPACITY {
            self.maybe_accepted.insert(id);
        }
    }

    /// Removes an execution that has ended, or that claude-api does not have.
    pub fn forget(&mut self, id: ExecutionId) {
        self.entries.remove(&id);
        self.maybe_accepted.remove(&id);
    }

    /// Whether claude-api has certainly accepted this execution.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns the ids of all live executions, by the time of their creation.
    #[must_use]
    pub fn oldest_first(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let mut all: Vec<_> = entries.map(|(id, e)| (e.created, *id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns the executions with `onDisconnect: "cancel"`, which are cancelled after the end of
    /// the session unless a client views them again.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let known = entries.filter(|(_, e)| e.cancel_on_disconnect);
        let known = known.map(|(id, _)| *id);
        known.chain(self.maybe_accepted.iter().copied()).collect()
    }
}
