//! The state that all WebSocket sessions of a bridge share: settings, memory budgets and counters.
//! The client for claude-api is not among them, because each session sends the token of its client.

use std::sync::Arc;

use protocol::Limits;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budgets;
use crate::config::Settings;
use crate::handover;
use crate::metrics::{Metrics, Retries};
use crate::viewer;
use crate::viewer::buffer::Skip;

/// The state that all WebSocket sessions of a bridge share. It is created once, when the bridge
/// starts, and lives until the last session has ended.
#[derive(Debug)]
pub struct Shared {
    /// The context of views, which stream an execution's output to a client. Holds their settings
    /// and the bridge's metrics.
    pub viewer: viewer::Context,
    /// The context of executes and cancels that are handed over to claude-api. They must outlive
    /// their session, because a client may disconnect right after it has sent a request.
    pub handover: Arc<handover::Context>,
    /// The memory budgets that all sessions share, for incoming messages, outgoing messages and
    /// lists.
    pub budgets: Budgets,
    /// The limits of claude-api merged with the bridge's own. A session reports them to its client
    /// in `connected`. `None` until claude-api has reported its limits for the first time.
    pub limits: watch::Receiver<Option<Limits>>,
    /// The limits that the bridge enforces itself, from its settings, such as the most bytes of a
    /// message and the ping interval.
    pub own_limits: Limits,
    /// The most executions that one session may view at the same time. Further requests for a view
    /// are refused with -32004 (queue full, `too_many_views`).
    pub views: usize,
    /// Tracks the tasks of all sessions and of their calls to claude-api. When the bridge stops, it
    /// waits until they have ended.
    pub tracker: TaskTracker,
    /// The signal that the bridge stops. Once it is cancelled, every session closes with 1012
    /// (service restart).
    pub shutdown: CancellationToken,
}

impl Shared {
    /// Creates the shared state of one bridge, with empty memory budgets. `limits` delivers the
    /// limits of claude-api once they are known. `retries` has the counters that the client for
    /// claude-api increments, and `spans` those of the export of traces. `tracker` tracks the tasks
    /// of all sessions, and cancelling `shutdown` ends the sessions.
    #[must_use]
    pub fn new(
        settings: &Settings,
        retries: &Retries,
        spans: &telemetry::Counters,
        limits: watch::Receiver<Option<Limits>>,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let own_limits = settings.limits.clone();
        let metrics = Arc::new(Metrics::new(retries, spans));
        let handover = handover::Context::new(
            metrics.clone(),
            settings.disconnect_grace,
            tracker.clone(),
            shutdown.clone(),
        );
        let viewer = viewer::Context {
            skip: Skip {
                bytes: own_limits.skip_bytes,
                lines: own_limits.skip_lines,
            },
            status_bytes: usize::try_from(own_limits.status_bytes).unwrap_or(usize::MAX),
            metrics,
        };
        Arc::new(Self {
            viewer,
            handover,
            budgets: Budgets::new(&own_limits),
            limits,
            own_limits,
            views: settings.views,
            tracker,
            shutdown,
        })
    }
}
