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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use grants::{GrantHash, Registration};
use tokio_util::sync::CancellationToken;

/// The most open requests of one grant. The CLI with its sub-agents opens about ten.
pub const OPEN_REQUESTS: usize = 16;

/// The reason why a request is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The grants are not known at the moment.
    NotSynced,
    /// The grant is not in force.
    Unknown,
    /// The cost limit of the execution or of its principal is reached.
    CostLimit,
    /// The grant has [`OPEN_REQUESTS`] open requests.
    TooMany,
}

/// The grants of one service. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Table(
    /// A lock, because requests of all connections read and change the table. It is held for a few
    /// look-ups, never across an await.
    Arc<Mutex<Inner>>,
);

#[derive(Debug, Default)]
struct Inner {
    connection: Connection,
    /// Counts the control connections, so that late orders of an earlier one have no effect.
    generation: u64,
    executions: HashMap<String, Entry>,
    /// The execution of each registered grant.
    by_hash: HashMap<GrantHash, String>,
}

/// The state of the control connection, as in the diagram of this module.
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
    /// Whether the budget of its principal is used up.
    is_exhausted: bool,
    open_requests: usize,
    /// Cancelled when the open requests must end.
    cut: CancellationToken,
}

/// The control connection, as far as the grants depend on it. Dropping it puts all grants out of
/// force.
#[derive(Debug)]
pub struct Session {
    table: Table,
    generation: u64,
}

/// An open request of a grant. Dropping it closes the request.
#[derive(Debug)]
pub struct OpenRequest {
    table: Table,
    execution_id: String,
    cut: CancellationToken,
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a control connection. An earlier one has no effect from now on.
    #[must_use]
    pub fn connect(&self) -> Session {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.connection = Connection::Syncing;
        Session {
            table: self.clone(),
            generation: inner.generation,
        }
    }

    /// Opens a request with the grant that a client presents.
    ///
    /// # Errors
    /// The grant is not in force, or one of its limits is reached.
    pub fn open(&self, presented: Option<&str>) -> Result<OpenRequest, Denied> {
        let mut inner = self.lock();
        if inner.connection != Connection::Synced {
            return Err(Denied::NotSynced);
        }
        let hash = GrantHash::of(presented.ok_or(Denied::Unknown)?);
        let Inner {
            executions,
            by_hash,
            generation,
            ..
        } = &mut *inner;
        let id = by_hash.get(&hash).ok_or(Denied::Unknown)?;
        let entry = executions.get_mut(id).ok_or(Denied::Unknown)?;
        if entry.generation != *generation {
            return Err(Denied::Unknown);
        }
        let is_over = entry
            .max_cost_usd
            .is_some_and(|most| entry.spent_usd >= most);
        if is_over || entry.is_exhausted {
            return Err(Denied::CostLimit);
        }
        if entry.open_requests == OPEN_REQUESTS {
            return Err(Denied::TooMany);
        }
        entry.open_requests += 1;
        Ok(OpenRequest {
            table: self.clone(),
            execution_id: id.clone(),
            cut: entry.cut.clone(),
        })
    }
}

impl Session {
    /// Runs `change` if this is still the newest connection.
    fn with(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.table.lock();
        if inner.generation == self.generation {
            change(&mut inner);
        }
    }

    /// Registers a grant, or replaces that of the same execution. The open requests of a replaced
    /// grant go on.
    pub fn register(&self, registration: Registration) {
        let Registration {
            execution_id,
            hash,
            principal: _,
            max_cost_usd,
            spent_usd,
        } = registration;
        self.with(|inner| {
            let generation = inner.generation;
            let entry = inner.executions.entry(execution_id.clone());
            let entry = entry.or_insert_with(|| Entry {
                hash: hash.clone(),
                generation,
                max_cost_usd,
                spent_usd,
                is_exhausted: false,
                open_requests: 0,
                cut: CancellationToken::new(),
            });
            let replaced = std::mem::replace(&mut entry.hash, hash.clone());
            entry.generation = generation;
            entry.max_cost_usd = max_cost_usd;
            entry.spent_usd = entry.spent_usd.max(spent_usd);
            entry.is_exhausted = false;
            inner.by_hash.remove(&replaced);
            inner.by_hash.insert(hash, execution_id);
        });
    }

    /// Puts the registered grants in force, and ends the executions that this connection has not
    /// registered.
    pub fn synced(&self) {
        self.with(|inner| {
            inner.connection = Connection::Synced;
            let generation = inner.generation;
            let ended = inner
                .executions
                .extract_if(|_, entry| entry.generation != generation);
            let ended: Vec<_> = ended.collect();
            for (id, entry) in ended {
                inner.end(&id, &entry);
            }
        });
    }

    /// Ends the grant of an execution, and cuts its open requests.
    pub fn revoke(&self, execution_id: &str) {
        self.with(|inner| {
            if let Some(entry) = inner.executions.remove(execution_id) {
                inner.end(execution_id, &entry);
            }
        });
    }

    /// Refuses further requests of an execution, because the budget of its principal is used up.
    pub fn exhaust(&self, execution_id: &str) {
        self.with(|inner| {
            if let Some(entry) = inner.executions.get_mut(execution_id) {
                entry.is_exhausted = true;
            }
        });
    }
}

impl Inner {
    /// Removes the grant of an execution whose entry was removed, and cuts its open requests.
    fn end(&mut self, execution_id: &str, entry: &Entry) {
        if self
            .by_hash
            .get(&entry.hash)
            .is_some_and(|own| own == execution_id)
        {
            self.by_hash.remove(&entry.hash);
        }
        entry.cut.cancel();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.with(|inner| inner.connection = Connection::Away);
    }
}

impl OpenRequest {
    /// Returns the execution.
    #[must_use]
    pub fn execution_id(&self) -> &str {
        &self.execution_id
    }

    /// Returns the token that is cancelled when the request must end.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Adds a cost in US dollars, and returns the cost of all requests of the execution so far.
    pub fn charge(&self, cost_usd: f64) -> f64 {
        let mut inner = self.table.lock();
        let Some(entry) = inner.executions.get_mut(&self.execution_id) else {
            // The execution has ended. claude-api has its earlier sum.
            return cost_usd;
        };
        entry.spent_usd += cost_usd;
        entry.spent_usd
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        if let Some(entry) = inner.executions.get_mut(&self.execution_id) {
            entry.open_requests = entry.open_requests.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
