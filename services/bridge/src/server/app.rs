//! The state that the handlers of all HTTP requests share, and the limit of open sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Guard;
use tokio::sync::Semaphore;

use super::boxed::BoxRule;
use crate::session::shared::Shared;

/// The state that the handlers of all HTTP requests share. A clone refers to the same state.
#[derive(Debug, Clone)]
pub struct App {
    /// The state that all WebSocket sessions share.
    pub shared: Arc<Shared>,
    /// The number of open WebSocket sessions.
    pub open_sessions: Arc<AtomicU64>,
    /// Permits to refuse a session over the limit over WebSocket, with -32001. A permit is acquired
    /// at the upgrade, for 3 s at most. No connection waits for a permit: without one the answer is
    /// 503.
    pub refusals: Arc<Semaphore>,
    /// Checks the `Host` and `Origin` of every request, so that foreign web pages cannot use the
    /// bridge.
    pub(super) guard: Arc<Guard>,
    /// Refuses requests from the box: the container of claude-api, in which the model's commands
    /// run.
    pub(super) boxed: Arc<BoxRule>,
    /// The MCP server on `/mcp`.
    pub(super) mcp: ::mcp::http::Service,
}

/// One of the `sessions` sessions that may be open at the same time. Dropping it lets another one
/// open.
#[derive(Debug)]
pub struct SessionSlot(App);

impl App {
    /// Counts one more open session until the result is dropped. Returns `None` if `sessions`
    /// sessions are open.
    #[must_use]
    pub fn take_slot(&self) -> Option<SessionSlot> {
        let limit = self.shared.own_limits.sessions;
        let increment = |n: u64| (n < limit).then_some(n + 1);
        self.open_sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, increment)
            .ok()?;
        let metrics = &self.shared.viewer.metrics;
        metrics.sessions_opened.inc();
        Some(SessionSlot(self.clone()))
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.0.open_sessions.fetch_sub(1, Ordering::AcqRel);
    }
}
