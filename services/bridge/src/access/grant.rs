//! The permission of a client to use the bridge. Sessions hold it, and end when it is revoked.

use std::sync::Arc;

use protocol::Me;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::session_lease::SessionLease;
use crate::upstream::Upstream;

/// The permission of a client to use the bridge: to whom its credential belongs, and the client for
/// claude-api that sends the credential with every call. All sessions of one credential share one
/// grant, except that a session of a ticket has one of its own.
#[derive(Debug)]
pub struct Grant {
    /// The holder of the credential. Role admin and no principal while claude-api has no tokens.
    me: Me,
    /// The principal in `me`, which many requests of a session refer to.
    principal: Option<Arc<str>>,
    /// The key in `me` by which sessions are counted.
    quota: Option<Arc<str>>,
    upstream: Upstream,
    /// Cancelled when the credential is no longer valid, or when the bridge stops.
    revoked: CancellationToken,
    /// The reason with which sessions end when the grant is revoked, as the client reads it.
    reason: &'static str,
    /// Ends the task that asks claude-api about the credential. `None` if there is no such task.
    _watch: Option<DropGuard>,
    /// Keeps the credential valid, and ends it with the grant. `None` if it is none of a ticket.
    _lease: Option<SessionLease>,
}

impl Grant {
    /// Creates a grant. `revoked` must also be cancelled when the bridge stops. `reason` is the
    /// text with which sessions end when it is cancelled. Dropping the grant cancels `watch` and
    /// ends `lease`.
    #[must_use]
    pub fn new(
        me: Me,
        upstream: Upstream,
        revoked: CancellationToken,
        reason: &'static str,
        watch: Option<CancellationToken>,
        lease: Option<SessionLease>,
    ) -> Arc<Self> {
        Arc::new(Self {
            principal: me.principal.as_deref().map(Arc::from),
            quota: me
                .quota
                .as_deref()
                .or(me.principal.as_deref())
                .map(Arc::from),
            me,
            upstream,
            revoked,
            reason,
            _watch: watch.map(CancellationToken::drop_guard),
            _lease: lease,
        })
    }

    /// Returns the holder of the credential, as claude-api described it when the grant was made.
    #[must_use]
    pub fn me(&self) -> &Me {
        &self.me
    }

    /// Returns whether the grant fits a newer answer of claude-api: the principal, the role and the
    /// share are the same.
    #[must_use]
    pub fn is_for(&self, me: &Me) -> bool {
        let of = |me: &Me| (me.principal.clone(), me.role, me.share);
        of(&self.me) == of(me)
    }

    /// Returns the principal whose executions the credential opens. `None` for a share, and while
    /// claude-api has no tokens.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<str>> {
        self.principal.as_ref()
    }

    /// Returns the key by which sessions are counted: one for each principal, its shares included.
    /// `None` while claude-api has no tokens.
    #[must_use]
    pub fn quota(&self) -> Option<&Arc<str>> {
        self.quota.as_ref()
    }

    /// Returns the client for claude-api that sends the credential.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Returns the cancellation token of the grant. It is cancelled when the credential is no
    /// longer valid, or when the bridge stops.
    #[must_use]
    pub fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }

    /// Returns the reason with which sessions end when the grant is revoked.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}
