//! The sender of an HTTP request to the MCP server, and the owner of an MCP session.

use std::sync::Arc;

use protocol::{ExecutionId, Secret};

/// The sender of an HTTP request. The caller of [`Service::handle`](crate::http::Service::handle)
/// has judged it, and puts this value into the extensions of the request. Its `Debug` output does
/// not contain the token.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The token that the connections to the bridge send. `None` if the request has none.
    pub token: Option<Secret>,
    /// The principal of the token. `None` if the service has no tokens.
    pub principal: Option<Arc<str>>,
    /// The only execution that the token opens, if it is a share.
    pub share: Option<ExecutionId>,
}

/// The owner of an MCP session, who alone may use it: a principal, or the holders of the shares of
/// one execution. `None` as a principal means that the service has no tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    principal: Option<Arc<str>>,
    share: Option<ExecutionId>,
}

impl Owner {
    /// Returns whether the service has tokens, so that the owner is one of several.
    pub(crate) fn is_principal(&self) -> bool {
        self.principal.is_some()
    }
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self {
            principal: caller.principal.clone(),
            share: caller.share,
        }
    }
}
