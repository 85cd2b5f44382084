//! The connections to the API that wait for a request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use super::body::RequestBody;

/// The maximum number of connections that wait. A further one is closed.
const IDLE: usize = 16;
/// How long a connection waits at most. Load balancers close idle connections after a minute or
/// more; a request on such a connection would fail.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// The idle connections. Clones share them. A connection enters when its answer has ended, and
/// leaves for the next request, the newest first. No request waits for one: if the pool is empty, a
/// new connection is opened. The limit of open requests for each grant bounds the connections in
/// use.
#[derive(Debug, Clone, Default)]
pub struct Pool(
    /// A lock, because all requests share the pool. It is held for a push or a pop, never across an
    /// await.
    Arc<Mutex<Vec<Idle>>>,
);

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection in use. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    sender: SendRequest<RequestBody>,
    pool: Pool,
}

impl Pool {
    /// Removes a connection that is ready for a request. Closes those that waited too long.
    pub(super) fn take(&self) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE_TIME && !idle.sender.is_closed());
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(idle.remove(ready).sender)
    }

    /// Returns a lease that can put the connection into this pool.
    pub(super) fn lease(&self, sender: SendRequest<RequestBody>) -> Lease {
        Lease {
            sender,
            pool: self.clone(),
        }
    }
}

impl Lease {
    /// Puts the connection into the pool. The caller has read the whole answer.
    pub fn release(self) {
        let Self { sender, pool } = self;
        let mut idle = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !sender.is_closed() {
            idle.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }
}
