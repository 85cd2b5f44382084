//! The connections to the API that wait for a request.
//!
//! An API could send more bytes than the answer that a request expects. The next request on the
//! connection would take them for its own answer. So a connection serves one execution only, and
//! each execution gets its own answers at worst.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::body::RequestBody;

/// The maximum number of connections that wait, of all executions together. A further one closes
/// the one that has waited longest.
const IDLE: usize = 64;
/// How long a connection waits at most. Load balancers close idle connections after a minute or
/// more; a request on such a connection would fail.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// The execution that a connection belongs to.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The execution.
    pub execution_id: String,
    /// Cancelled when the grant of the execution ends. Its connections are then closed.
    pub ended: CancellationToken,
}

/// The idle connections. Clones share them. A connection enters when its answer has ended, and
/// leaves for the next request of the same execution, the newest first. No request waits for one:
/// without an idle connection, a new one is opened. The limits of open requests for each grant and
/// of grants bound the connections in use.
#[derive(Debug, Clone, Default)]
pub struct Pool(
    /// The connections, oldest first. A lock, because all requests share the pool. It is held for a
    /// push or a look-up, never across an await.
    Arc<Mutex<Vec<Idle>>>,
);

#[derive(Debug)]
struct Idle {
    connection: Connection,
    execution_id: String,
    since: Instant,
}

/// A connection to the API. Dropping it closes the connection, although a request may still be
/// written.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) _close: DropGuard,
}

/// A connection in use. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    connection: Connection,
    execution_id: String,
    pool: Pool,
}

impl Idle {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < IDLE_TIME && !self.connection.sender.is_closed()
    }
}

impl Pool {
    /// Removes a connection of this execution that is ready for a request. Closes those that waited
    /// too long.
    pub(super) fn take(&self, execution_id: &str) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_usable);
        let ready = idle.iter().rposition(|idle| {
            idle.execution_id == execution_id && idle.connection.sender.is_ready()
        })?;
        Some(idle.remove(ready).connection)
    }

    /// Returns a lease that can put the connection into this pool.
    pub(super) fn lease(&self, connection: Connection, owner: &Owner) -> Lease {
        Lease {
            connection,
            execution_id: owner.execution_id.clone(),
            pool: self.clone(),
        }
    }
}

impl Lease {
    /// Puts the connection into the pool. The caller has sent the whole request and has read the
    /// whole answer. If the API sent more bytes meanwhile, the HTTP library closes the connection.
    pub fn release(self) {
        let Self {
            connection,
            execution_id,
            pool,
        } = self;
        let mut idle = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_usable);
        if idle.len() == IDLE {
            idle.remove(0);
        }
        idle.push(Idle {
            connection,
            execution_id,
            since: Instant::now(),
        });
    }
}
