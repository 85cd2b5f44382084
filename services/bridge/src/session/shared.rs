//! The state that all sessions of a bridge share.

use std::sync::Arc;

use protocol::Limits;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budgets;
use crate::config::Settings;
use crate::handover;
use crate::metrics::Metrics;
use crate::upstream::Upstream;
use crate::viewer;
use crate::viewer::buffer::Skip;

/// The state that all WebSocket sessions of a bridge share.
#[derive(Debug)]
pub struct Shared {
    /// The settings of views, the counters, and the client for claude-api.
    pub viewer: viewer::Context,
    /// The state of executes and cancels that outlive their sessions.
    pub handover: Arc<handover::Context>,
    /// The memory budgets of all sessions.
    pub budgets: Budgets,
    /// claude-api's limits merged with the bridge's own, for `connected`; `None` while unknown.
    pub limits: watch::Receiver<Option<Limits>>,
    /// The limits that the bridge enforces itself.
    pub own_limits: Limits,
    /// The most executions that one session may view at the same time.
    pub views: usize,
    /// The tasks of all sessions and calls. A stop of the bridge waits for them.
    pub tracker: TaskTracker,
    /// Cancelled when the bridge stops.
    pub shutdown: CancellationToken,
}

impl Shared {
    /// Creates the state of one bridge, with its memory budgets. `limits` receives claude-api's
    /// limits once they are known. The tasks of the sessions run in `tracker` until `shutdown` is
    /// cancelled.
    #[must_use]
    pub fn new(
        settings: &Settings,
        upstream: Upstream,
        limits: watch::Receiver<Option<Limits>>,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let own_limits = settings.limits.clone();
        let metrics = Arc::new(Metrics::new(&upstream.retries));
        let handover = handover::Context::new(
            upstream.clone(),
            metrics.clone(),
            settings.disconnect_grace,
            tracker.clone(),
            shutdown.clone(),
        );
        let viewer = viewer::Context {
            upstream,
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
