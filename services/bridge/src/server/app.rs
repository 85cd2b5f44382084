//! The state that the handlers of all HTTP requests share, and the places of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Guard;
use tokio::sync::Semaphore;

use super::boxed::Rule;
use crate::session::shared::Shared;

/// The state that all HTTP requests share.
#[derive(Debug, Clone)]
pub struct App {
    /// The state that all sessions share.
    pub shared: Arc<Shared>,
    /// The number of open sessions.
    pub open_sessions: Arc<AtomicU64>,
    /// Places for connections that are refused with -32001. A place is taken at the upgrade, for 3
    /// s at most. Nobody waits for a place: without one the answer is 503.
    pub refusals: Arc<Semaphore>,
    /// Checks `Host` and `Origin`.
    pub(super) guard: Arc<Guard>,
    /// Refuses requests from the box: the container of a boxed claude-api.
    pub(super) boxed: Arc<Rule>,
    /// MCP on `/mcp`.
    pub(super) mcp: ::mcp::http::Service,
}

/// A place among the sessions, until dropped.
#[derive(Debug)]
pub struct Place(App);

impl App {
    /// Takes a place for a session; None when there are too many.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let most = self.shared.own_limits.sessions;
        let more = |n: u64| (n < most).then_some(n + 1);
        self.open_sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        let metrics = &self.shared.viewer.metrics;
        metrics.sessions_opened.inc();
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open_sessions.fetch_sub(1, Ordering::AcqRel);
    }
}
