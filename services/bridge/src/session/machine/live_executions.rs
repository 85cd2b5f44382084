//! The live executions of a session, which it has started or attached to and which are not known to
//! have ended. A request without an `executionId` is about the oldest of them. Does no I/O.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use protocol::{ExecutionId, Status};

/// The most live executions that a session remembers, to bound its memory. When one more is added,
/// the oldest is forgotten. It then needs an `executionId` in requests, and the end of the session
/// no longer cancels it.
const CAPACITY: usize = 4096;

/// One live execution of the session.
#[derive(Debug)]
struct LiveExecution {
    /// The time at which claude-api created the execution.
    created: Timestamp,
    /// Whether the execution is cancelled when no client views it after the end of the session.
    cancel_on_disconnect: bool,
}

/// The executions that a session has started or attached to and that are not known to have ended.
/// An execution may have ended without the session's knowledge, so claude-api has the last word.
#[derive(Debug, Default)]
pub struct LiveExecutions {
    entries: HashMap<ExecutionId, LiveExecution>,
    /// Executions with `onDisconnect: "cancel"` whose execute failed without a clear reply.
    /// claude-api may run them, so they are cancelled after the end of the session, too.
    maybe_accepted: HashSet<ExecutionId>,
}

impl LiveExecutions {
    /// Adds the execution of this status, or removes it if the status is terminal.
    /// `cancel_on_disconnect` is true if the execution must be cancelled after the end of the
    /// session. A later `false` for the same execution does not revoke that.
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

    /// Adds an execution with `onDisconnect: "cancel"` whose execute failed without a clear reply,
    /// so claude-api may have accepted it. Beyond the capacity it is ignored.
    pub fn note_maybe_accepted(&mut self, id: ExecutionId) {
        if self.maybe_accepted.len() < CAPACITY {
            self.maybe_accepted.insert(id);
        }
    }

    /// Removes an execution that has ended or that claude-api does not have. Does nothing for an
    /// unknown one.
    pub fn forget(&mut self, id: ExecutionId) {
        self.entries.remove(&id);
        self.maybe_accepted.remove(&id);
    }

    /// Returns whether the session knows that claude-api has accepted this execution. Also false
    /// once the execution has been removed.
    #[must_use]
    pub fn is_accepted(&self, id: ExecutionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns the ids of all live executions, sorted by the time at which claude-api created them.
    #[must_use]
    pub fn oldest_first(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let mut all: Vec<_> = entries.map(|(id, e)| (e.created, *id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns the executions with `onDisconnect: "cancel"`, accepted for certain or perhaps. After
    /// the end of the session they are cancelled, unless a client views them again.
    #[must_use]
    pub fn departing(&self) -> Vec<ExecutionId> {
        let entries = self.entries.iter();
        let known = entries.filter(|(_, e)| e.cancel_on_disconnect);
        let known = known.map(|(id, _)| *id);
        known.chain(self.maybe_accepted.iter().copied()).collect()
    }
}
