//! Handing executes to claude-api, and the cancels that the bridge owes after a session has left.
//! Both outlive their session.
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

/// The most owed cancels that are retried without a time limit, over all sessions.
///
/// - When is a permit acquired? When a cancel is owed. It is released when claude-api has answered
///   the cancel.
/// - Who waits for whom? No cancel waits. A cancel without a permit is retried only as long as an
///   execute is.
/// - What bounds the other direction? Each cancel sends one request at a time.
const OWED_CANCELS: usize = 1024;

/// An execute that the session's machine hands to the executor. The executor turns it into a
/// `PutRequest` and keeps `cancel_on_disconnect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The id of the execution.
    pub id: ExecutionId,
    /// Whether the bridge made the id just now. A client's own id may have been accepted earlier,
    /// in another session or by another bridge.
    pub fresh: bool,
    /// The body, encoded for claude-api.
    pub body: Bytes,
    /// Whether the execution is cancelled after the end of the session.
    pub cancel_on_disconnect: bool,
}

/// The context that the handovers of all sessions share.
#[derive(Debug)]
pub struct Context {
    /// The client for claude-api.
    pub upstream: Upstream,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The views of each execution.
    pub departures: Departures,
    /// Permits for owed cancels.
    owed_permits: Semaphore,
    /// How long an execution of a departed session must have no view before it is cancelled.
    disconnect_grace: Duration,
    /// All tasks that a stop of the bridge waits for.
    pub tracker: TaskTracker,
    /// Cancelled when the bridge stops.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Creates the context of one bridge.
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
