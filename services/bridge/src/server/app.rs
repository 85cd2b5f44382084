//! The state that the handlers of all HTTP requests share, and the limit of open WebSocket
//! sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use addresses::TrustedProxies;
use protocol::Guard;
use tokio::sync::Semaphore;

use super::access::Access;
use super::audit::Audit;
use super::boxed::BoxRule;
use crate::access::grant::Grant;
use crate::budget::session_counts::{SessionCounts, SessionUse};
use crate::session::shared::Shared;
use crate::upstream::Upstream;

/// The state that the handlers of all HTTP requests share. A clone refers to the same state.
#[derive(Debug, Clone)]
pub struct App {
    /// The state that all WebSocket sessions share.
    pub shared: Arc<Shared>,
    /// The client for claude-api without a token, for the health pages.
    pub(super) upstream: Upstream,
    /// The number of open WebSocket sessions.
    pub open_sessions: Arc<AtomicU64>,
    /// The open WebSocket sessions of each principal and of its shares. A session beyond the limit
    /// is refused and waits for nobody, so that one principal cannot use up the sessions of all
    /// others, and shares cannot use up those of their principal.
    pub(super) session_counts: SessionCounts,
    /// The permits to refuse a surplus session over WebSocket, with the JSON-RPC error -32001
    /// (`TOO_MANY_SESSIONS`). A permit is acquired at the upgrade and held for 3 s at most. No
    /// connection waits for one: without a permit the answer is HTTP 503 (Service Unavailable).
    pub refusals: Arc<Semaphore>,
    /// Admits clients, or refuses them because of their token.
    pub(super) access: Arc<Access>,
    /// The proxies whose header `X-Forwarded-For` is believed.
    pub(super) proxies: Arc<TrustedProxies>,
    /// Writes the audit lines of refused requests.
    pub(super) audit: Arc<Audit>,
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
/// says, and for each principal as many as `sessionsPerPrincipal` says. The shares of a principal
/// have further ones of their own. Dropping one lets another session open.
#[derive(Debug)]
pub struct SessionSlot {
    app: App,
    grant: Arc<Grant>,
    /// The session in the count of its principal or share.
    _counted: SessionUse,
}

/// The name and the value of the limit beyond which a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRefusal(pub &'static str, pub u64);

impl App {
    /// Counts one more open WebSocket session of this client until the result is dropped.
    ///
    /// # Errors
    /// As many sessions are open as the setting `sessions` allows, or as many of this principal or
    /// share as `sessionsPerPrincipal` allows.
    pub fn take_slot(&self, grant: Arc<Grant>) -> Result<SessionSlot, SlotRefusal> {
        let limits = &self.shared.own_limits;
        let (quota, limit) = (grant.quota().cloned(), limits.sessions_per_principal);
        let taken = self.session_counts.take(quota, grant.me(), limit);
        let counted = taken.map_err(|limit| SlotRefusal("sessions_per_principal", limit))?;
        let limit = limits.sessions;
        let increment = |n: u64| (n < limit).then_some(n + 1);
        self.open_sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, increment)
            .map_err(|_| SlotRefusal("too_many_sessions", limit))?;
        let metrics = &self.shared.viewer.metrics;
        metrics.sessions_opened.inc();
        Ok(SessionSlot {
            app: self.clone(),
            grant,
            _counted: counted,
        })
    }
}

impl SessionSlot {
    /// Returns the permission of the client that has the session.
    #[must_use]
    pub fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.app.open_sessions.fetch_sub(1, Ordering::AcqRel);
    }
}
