//! Work for claude-api that continues after the end of the session that started it: new executions
//! that claude-api has not accepted yet, and cancels for which no client waits any more.
//!
//! - [`executor`]: sends the executes of one session to claude-api, in the order received.
//! - [`departures`]: counts the viewers of each execution. An execution whose client has left is
//!   cancelled only if no other client views it.
//! - [`owed_cancels`]: cancels for which no client waits, retried until claude-api has answered.

pub mod departures;
pub mod executor;
pub mod owed_cancels;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{ExecutionId, TraceContext};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::principal_counts::PrincipalCounts;
use crate::metrics::Metrics;
use departures::Departures;

/// The most owed cancels that are retried without a time limit, over all sessions. A cancel is owed
/// when an execution must end, but no client waits for the answer any more.
///
/// - When is a permit acquired? When a cancel is owed. It is released when claude-api has answered
///   the cancel.
/// - Who waits for whom? No cancel waits. A cancel without a permit is retried only as long as an
///   execute is.
///   One principal has at most half of the permits.
/// - What bounds the other direction? Each cancel sends one request at a time.
const OWED_CANCELS: usize = 1024;

/// A new execution that a client has requested, ready to be sent to claude-api. The session's state
/// machine creates it, and the executor sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The id of the new execution.
    pub id: ExecutionId,
    /// Whether the bridge has just generated the id, so that no other request can have used it.
    /// False if the client chose the id. The client may then have used it before, in another
    /// session or through another bridge.
    pub fresh: bool,
    /// The JSON body of the PUT request to claude-api.
    pub body: Bytes,
    /// Whether the execution is cancelled when its client has disconnected and no other client
    /// views it (`onDisconnect: "cancel"`). If false, it continues without a viewer.
    pub cancel_on_disconnect: bool,
    /// The client's trace, to which the execute belongs. `None` if the client named none.
    pub trace: Option<TraceContext>,
}

/// The state that the executes and the owed cancels of all sessions share. There is one per bridge.
#[derive(Debug)]
pub struct Context {
    /// The counters of executes that claude-api has accepted and of those that failed.
    pub metrics: Arc<Metrics>,
    /// The number of viewers of each execution. An execution that still has a viewer is not
    /// cancelled.
    pub departures: Departures,
    /// The permits to retry an owed cancel without a time limit. Without a permit, the cancel is
    /// given up after some time.
    owed_permits: Semaphore,
    /// The owed cancels of each principal that have such a permit.
    owed_by_principal: PrincipalCounts,
    /// How long an execution may be without a viewer after its session ended. After that it is
    /// cancelled.
    disconnect_grace: Duration,
    /// Tracks the tasks of all executes and owed cancels, so that the bridge can wait for them when
    /// it stops.
    pub tracker: TaskTracker,
    /// Cancelled when the bridge stops. Owed cancels then end immediately, and executes after 2 s
    /// at the latest.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Creates the shared state of one bridge. `disconnect_grace` is how long an execution may be
    /// without a viewer after its session ended. Cancelling `shutdown` ends the owed cancels
    /// immediately, and the executes after 2 s.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        disconnect_grace: Duration,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            departures: Departures::default(),
            owed_permits: Semaphore::new(OWED_CANCELS),
            owed_by_principal: PrincipalCounts::default(),
            disconnect_grace,
            tracker,
            shutdown,
        })
    }
}
