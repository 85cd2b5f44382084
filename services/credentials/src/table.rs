//! The grants: which are in force, what their requests have cost, and which requests are open.
//!
//! ```text
//! away ── connect ──▶ syncing ── Synced ──▶ synced
//!   ▲                    │                    │
//!   └──── disconnect ────┴────────────────────┘
//! ```
//!
//! - Away: there is no control connection. No grant is in force.
//! - Syncing: claude-api sends its grants. None is in force yet.
//! - Synced: the registered grants are in force.
//!
//! Open requests survive the end of the connection. When a new connection is synced, the executions
//! that claude-api did not register again have ended: their open requests are cut, and what they
//! cost is forgotten.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grants::Registration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use state::{Denied, GRANTS, OPEN_REQUESTS};
use state::{Opened, State};

/// The grants of one service. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Table(
    /// A lock, because requests of all connections read and change the table. It is held for a few
    /// look-ups, never across an await.
    Arc<Mutex<State>>,
);

/// The control connection, as far as the grants depend on it. Dropping it puts all grants out of
/// force. A connection that is not the newest one changes nothing.
#[derive(Debug)]
pub struct Session {
    table: Table,
    generation: u64,
}

/// An open request of a grant. Dropping it closes the request.
#[derive(Debug)]
pub struct OpenRequest {
    table: Table,
    opened: Opened,
    /// The cost of this request so far, in US dollars, which counts toward the limit of the grant.
    open_usd: f64,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a control connection. An earlier one has no effect from now on.
    #[must_use]
    pub fn connect(&self) -> Session {
        let generation = self.lock().connect();
        Session {
            table: self.clone(),
            generation,
        }
    }

    /// Opens a request with the grant that a client presents.
    ///
    /// # Errors
    /// The grant is not in force, or one of its limits is reached.
    pub fn open(&self, presented: Option<&str>) -> Result<OpenRequest, Denied> {
        let opened = self.lock().open(presented)?;
        Ok(OpenRequest {
            table: self.clone(),
            opened,
            open_usd: 0.0,
        })
    }
}

impl Session {
    /// Runs `change` if this is still the newest connection.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.table.lock();
        state.is_newest(self.generation).then(|| change(&mut state))
    }

    /// Registers a grant, or replaces the grant of the same execution. The open requests of a
    /// replaced grant continue. Returns false if there are [`GRANTS`] grants already; this one is
    /// then not in force.
    #[must_use]
    pub fn register(&self, registration: Registration) -> bool {
        self.with(|state| state.register(registration))
            .unwrap_or(true)
    }

    /// Puts the registered grants in force, and ends the executions that this connection has not
    /// registered.
    pub fn synced(&self) {
        self.with(State::synced);
    }

    /// Ends the grant of an execution, and cuts its open requests. The returned tracker is empty
    /// once these have ended and were reported. It is empty at once for an unknown execution.
    pub fn revoke(&self, execution_id: &str) -> TaskTracker {
        let tracker = self.with(|state| state.revoke(execution_id)).flatten();
        tracker.unwrap_or_else(|| {
            let none = TaskTracker::new();
            none.close();
            none
        })
    }

    /// Refuses further requests of an execution, because the budget of its principal is used up.
    pub fn exhaust(&self, execution_id: &str) {
        self.with(|state| state.exhaust(execution_id));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.with(State::disconnect);
    }
}

impl OpenRequest {
    /// Returns the execution.
    #[must_use]
    pub fn execution_id(&self) -> &str {
        &self.opened.execution_id
    }

    /// Returns the token that is cancelled when the request must end.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.opened.cut
    }

    /// Counts the cost of this request so far, in US dollars, toward the limit of the grant. The
    /// next call replaces the cost, and the end of the request forgets it.
    pub fn count(&mut self, cost_usd: f64) {
        let change = cost_usd - self.open_usd;
        if change == 0.0 {
            return;
        }
        self.open_usd = cost_usd;
        let mut state = self.table.lock();
        state.count(&self.opened.execution_id, change);
    }

    /// Adds the final cost of this request in US dollars, in place of the cost so far. Returns the
    /// cost of all requests of the execution.
    pub fn charge(&mut self, cost_usd: f64) -> f64 {
        let mut state = self.table.lock();
        state.count(&self.opened.execution_id, -self.open_usd);
        self.open_usd = 0.0;
        state.charge(&self.opened.execution_id, cost_usd)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        state.count(&self.opened.execution_id, -self.open_usd);
        state.close(&self.opened.execution_id);
    }
}

#[cfg(test)]
mod tests;
