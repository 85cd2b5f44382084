//! The requests of one session that are in flight, and the end of the session.
//!
//! Every request of a session has a [`Handled`] in its extensions until its handler returns.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{ClientRequest, GetExtensions, JsonRpcRequest, RequestId};
use tokio_util::sync::CancellationToken;

use crate::message::Malformed;

/// The requests of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    /// Fires when the session ends.
    ended: CancellationToken,
    // A synchronous lock: held only to access the set, never across an await.
    ids: Arc<Mutex<HashSet<RequestId>>>,
}

/// A request in flight. Dropping the last clone frees its id.
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
    /// Returns the token that fires when the session of the request ends.
    pub(crate) fn session_ended(&self) -> CancellationToken {
        self.0.requests.ended.clone()
    }
}

impl Requests {
    /// Registers a request.
    ///
    /// # Errors
    /// Another request with this id is in flight: the library would answer only one of them.
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

    /// Ends the session, which abandons its calls.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
