//! The requests of one MCP session that have no answer yet, and the signal that the session has
//! ended.
//!
//! Every request of a session has a [`Handled`] in its extensions until it is answered.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{ClientRequest, GetExtensions, JsonRpcRequest, RequestId};
use tokio_util::sync::CancellationToken;

use crate::message::Malformed;

/// The requests of one MCP session that have no answer yet. A second request with the same id is
/// refused meanwhile. Clones share the set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    /// A token that is cancelled when the MCP session ends.
    ended: CancellationToken,
    // A synchronous lock: held only to access the set, never across an await.
    ids: Arc<Mutex<HashSet<RequestId>>>,
}

/// The registration of a request that has no answer yet. When the last clone is dropped, the client
/// may use the request id again.
#[derive(Debug, Clone)]
pub(crate) struct Handled(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    requests: Requests,
    id: RequestId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.lock().remove(&self.id);
    }
}

impl Handled {
    /// Returns the token that is cancelled when the MCP session of this request ends.
    pub(crate) fn session_ended(&self) -> CancellationToken {
        self.0.requests.ended.clone()
    }
}

impl Requests {
    /// Registers a request of the session, so that its id cannot be used again until it is
    /// answered. Returns the registration, and also stores it in the request's extensions.
    ///
    /// # Errors
    /// Another request with the same id has no answer yet. The MCP library would answer only one of
    /// the two.
    pub(crate) fn begin(
        &self,
        request: &mut JsonRpcRequest<ClientRequest>,
    ) -> Result<Handled, Malformed> {
        let id = &request.id;
        if !self.lock().insert(id.clone()) {
            let message = "a request with this id is in flight; use an id once in a session";
            return Err(Malformed::request(Some(id.clone()), message));
        }
        let handled = Handled(Arc::new(Entry {
            requests: self.clone(),
            id: id.clone(),
        }));
        request.request.extensions_mut().insert(handled.clone());
        Ok(handled)
    }

    /// Signals that the MCP session has ended, so that its running calls end early.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
