//! The state that the handlers of all HTTP requests share, and the limit of open WebSocket
//! sessions.

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
    /// The permits to refuse a surplus session over WebSocket, with the JSON-RPC error -32001
    /// (`TOO_MANY_SESSIONS`). A permit is acquired at the upgrade and held for 3 s at most. No
    /// connection waits for one: without a permit the answer is HTTP 503 (Service Unavailable).
    pub refusals: Arc<Semaphore>,
    /// Checks the `Host` and `Origin` headers of every request, so that foreign web pages cannot
    /// use the bridge.
    pub(super) guard: Arc<Guard>,
    /// Refuses requests from the box: the container of claude-api, in which the model's commands
    /// run.
    pub(super) boxed: Arc<BoxRule>,
    /// The MCP server on `/mcp`.
    pub(super) mcp: ::mcp::http::Service,
}

/// The permission to have one WebSocket session open. There are as many as the setting `sessions`
/// says. Dropping one lets another session open.
#[derive(Debug)]
pub struct SessionSlot(App);

impl App {
    /// Counts one more open WebSocket session until the result is dropped. Returns `None` if as
    /// many sessions are open as the setting `sessions` allows.
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
