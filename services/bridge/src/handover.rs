//! Work for claude-api that outlives the session that asked for it: executes that are not accepted
//! yet, and cancels that no client waits for any more.
//!
//! - [`executor`]: the executes of one session, in the order received.
//! - [`departures`]: the views of an execution, and the requests for views, while the departure of
//!   a session may still cancel the execution.
//! - [`owed_cancels`]: cancels that no client waits for, retried until they are settled.

pub mod departures;
pub mod executor;
pub mod owed_cancels;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::ExecutionId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::upstream::Upstream;
use departures::Departures;

/// The most owed cancels that are retried without a time limit, over all sessions. A cancel is owed
/// when an execution must end, but no client waits for the answer any more.
///
/// - When is a permit acquired? When a cancel is owed. It is released when claude-api has answered
///   the cancel.
/// - Who waits for whom? No cancel waits. A cancel without a permit is retried only as long as an
///   execute is.
/// - What bounds the other direction? Each cancel sends one request at a time.
const OWED_CANCELS: usize = 1024;

/// An execute on its way from the session's machine, which decided on it, to the executor, which
/// sends it to claude-api.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The id of the new execution.
    pub id: ExecutionId,
    /// Whether the bridge made the id just now, so no other request can have used it. A client's
    /// own id may have been accepted earlier, in another session or by another bridge.
    pub fresh: bool,
    /// The body of the PUT, as JSON.
    pub body: Bytes,
    /// Whether the execution is cancelled if no client views it after the end of the session
    /// (`onDisconnect: "cancel"`).
    pub cancel_on_disconnect: bool,
}

/// The state that the executes and the owed cancels of all sessions share.
#[derive(Debug)]
pub struct Context {
    /// The client for claude-api.
    pub upstream: Upstream,
    /// The counters of accepted and refused executes.
    pub metrics: Arc<Metrics>,
    /// The viewers of each execution, so that an execution is not cancelled while it has a viewer.
    pub departures: Departures,
    /// Permits to retry an owed cancel without a time limit.
    owed_permits: Semaphore,
    /// How long an execution may be without a viewer after its session ended. Then it is cancelled.
    disconnect_grace: Duration,
    /// The tasks of all executes and owed cancels. A stop of the bridge waits for them.
    pub tracker: TaskTracker,
    /// Cancelled when the bridge stops. Then owed cancels end, and executes get 2 s more.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Creates the state for one bridge. `disconnect_grace`: how long an execution may be without a
    /// viewer after its session ended. `shutdown` ends the owed cancels, and the executes 2 s
    /// later.
    #[must_use]
    pub fn new(
        upstream: Upstream,
        metrics: Arc<Metrics>,
        disconnect_grace: Duration,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            metrics,
            departures: Departures::default(),
            owed_permits: Semaphore::new(OWED_CANCELS),
            disconnect_grace,
            tracker,
            shutdown,
        })
    }
}
