//! The `execute` calls of one MCP session, and what ends them early.
//!
//! A call ends early for one of three reasons, and only the first one cancels the execution:
//!
//! - The client cancels the call (`notifications/cancelled`).
//! - The MCP session ends: stdin is closed, the HTTP session is deleted or expires, or, in protocol
//!   versions without sessions, the response stream is closed.
//! - The response stream is closed, and the client asked for `onDisconnect: "cancel"`. The call then
//!   closes its WebSocket session, and the bridge does the rest.
//!
//! When the server stops, the client has its answer at once, and the call ends with its session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::RequestId;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What ends one call early.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// The client cancelled the call.
    pub(crate) cancelled: CancellationToken,
    /// The values of the MCP session were dropped.
    ended: CancellationToken,
    /// The MCP session ended. The library waits up to 5 s for its calls before it drops the session.
    session: CancellationToken,
    /// The response stream is closed, where that is to end the call.
    closed: CancellationToken,
}

impl Signals {
    /// Ends the call when its response stream is closed too.
    pub(crate) fn with_closed(mut self, closed: CancellationToken) -> Self {
        self.closed = closed;
        self
    }

    /// Ends the call with the session too.
    pub(crate) fn with_session(mut self, ended: CancellationToken) -> Self {
        self.session = ended;
        self
    }

    /// Whether nobody wants the result any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        let Self {
            cancelled: _,
            ended,
            session,
            closed,
        } = self;
        ended.is_cancelled() || session.is_cancelled() || closed.is_cancelled()
    }

    /// Waits until nobody wants the result any more. Cancel-safe.
    pub(crate) async fn abandoned(&self) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = self.session.cancelled() => {}
            () = self.closed.cancelled() => {}
        }
    }

    /// Waits until the call is to end early. Cancel-safe.
    pub(crate) async fn any(&self) {
        tokio::select! {
            () = self.cancelled.cancelled() => {}
            () = self.abandoned() => {}
        }
    }
}

/// The calls of one MCP session. Dropping it abandons them.
#[derive(Debug, Default)]
pub(crate) struct Running {
    // A plain lock: held for a look into the map, never over an await.
    calls: Mutex<HashMap<RequestId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    cancelled: CancellationToken,
    /// Fires when the entry is dropped with its session.
    _ended: DropGuard,
}

impl Running {
    /// Registers a call.
    pub(crate) fn enter(&self, request: RequestId) -> Signals {
        let signals = Signals::default();
        let entry = Entry {
            cancelled: signals.cancelled.clone(),
            _ended: signals.ended.clone().drop_guard(),
        };
        self.lock().insert(request, entry);
        signals
    }

    /// Removes a call that has ended.
    pub(crate) fn leave(&self, request: &RequestId) {
        self.lock().remove(request);
    }

    /// Tells a call that its client cancelled it. A call that is not registered is ignored: it has
    /// ended, or it has not begun and sees by its context that it is cancelled.
    pub(crate) fn cancel(&self, request: &RequestId) {
        if let Some(entry) = self.lock().remove(request) {
            entry.cancelled.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Entry>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fires when the response stream of a request is closed; in the extensions of an HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct Closed(pub(crate) CancellationToken);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_told_apart_from_the_end_of_the_session() {
        let running = Running::default();
        let (first, second, third) = (
            running.enter(RequestId::Number(1)),
            running.enter(RequestId::Number(2)),
            running.enter(RequestId::Number(3)),
        );
        running.cancel(&RequestId::Number(1));
        running.cancel(&RequestId::Number(9));
        assert!(first.cancelled.is_cancelled());
        assert!(!second.cancelled.is_cancelled() && !second.ended.is_cancelled());
        running.leave(&RequestId::Number(3));
        assert!(!third.cancelled.is_cancelled());
        drop(running);
        assert!(!second.cancelled.is_cancelled() && second.ended.is_cancelled());
    }
}
