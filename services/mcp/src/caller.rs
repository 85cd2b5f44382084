//! The sender of an HTTP request to the MCP server, and the owner of an MCP session.

use std::sync::Arc;

use protocol::{ExecutionId, Secret, SecretHash};

/// The sender of an HTTP request. The caller of [`Service::handle`](crate::http::Service::handle)
/// has judged it, and puts this value into the extensions of the request. Its `Debug` output does
/// not contain the token.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The token that the connections to the bridge send. `None` if the request has none.
    pub token: Option<Secret>,
    /// The principal of the token. `None` for a share, and if the service has no tokens.
    pub principal: Option<Arc<str>>,
    /// The key by which sessions and calls are counted: one for each principal, its shares
    /// included. `None` if the service has no tokens.
    pub quota: Option<Arc<str>>,
    /// The only execution that the token opens, if it is a share.
    pub share: Option<ExecutionId>,
}

/// The owner of an MCP session, who alone may use it: the holder of the token with which it was
/// opened. Another token, also one of the same principal, may have fewer rights. All fields are
/// `None` if the service has no tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    principal: Option<Arc<str>>,
    share: Option<ExecutionId>,
    quota: Option<Arc<str>>,
    /// The hash of the token. `None` if the service has no tokens, which then mean nothing.
    token: Option<SecretHash>,
}

impl Owner {
    /// Returns the key by which uses of limited resources are counted. `None` if the service has no
    /// tokens, so that there is only one owner.
    pub(crate) fn quota(&self) -> Option<&Arc<str>> {
        self.quota.as_ref()
    }

    /// Returns the share of the owner, for the count of its uses: the hash of its token. `None` if
    /// the owner is no share.
    pub(crate) fn share(&self) -> Option<Option<SecretHash>> {
        self.share.map(|_| self.token)
    }

    /// Returns whether a session of `other` counts for the same limit as one of this owner: both
    /// have tokens of one principal, or both have the same share.
    pub(crate) fn counts_with(&self, other: &Self) -> bool {
        let have_tokens = self.share.is_none() && other.share.is_none();
        self == other || (have_tokens && self.quota == other.quota)
    }

    /// Returns whether a session of `other` may be ended for one of this owner, because both count
    /// for one principal. The holder of a share ends only its own.
    pub(crate) fn may_end(&self, other: &Self) -> bool {
        self == other || (self.share.is_none() && self.quota == other.quota)
    }
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self {
            principal: caller.principal.clone(),
            share: caller.share,
            quota: caller.quota.clone().or_else(|| caller.principal.clone()),
            token: match caller.principal.is_some() || caller.share.is_some() {
                true => caller.token.as_ref().map(Secret::hash),
                false => None,
            },
        }
    }
}
