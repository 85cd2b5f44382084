//! The running `execute` calls of one MCP session, and the signals that end them before their
//! execution has ended.
//!
//! A call ends early for one of three reasons, and only the first one cancels the execution:
//!
//! - The client cancels the call (`notifications/cancelled`).
//! - The MCP session ends: stdin is closed, the HTTP session is deleted or expires, or, in protocol
//!   versions without sessions, the response stream is closed.
//! - The response stream is closed, and the client requested `onDisconnect: "cancel"`. The call
//!   then closes its WebSocket session, and the bridge cancels the execution after its grace time.
//!
//! When the server stops, the client gets its answer immediately, and the call ends with its
//! session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::RequestId;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The signals that end one `execute` call early. It ends because the client cancels it, the MCP
/// session ends, or, with `onDisconnect: "cancel"`, the response stream is closed. Only a cancel by
/// the client is sent to the bridge as a cancel of the execution.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// A token that is cancelled when the client cancels the call. The execution is then cancelled
    /// too.
    pub(crate) cancelled: CancellationToken,
    /// A token that is cancelled when the MCP session is dropped, and the entry of this call with
    /// it.
    dropped: CancellationToken,
    /// A token that is cancelled when the MCP session ends. The MCP library drops the session up to
    /// 5 s later, because it waits for the session's calls.
    session_ended: CancellationToken,
    /// A token that is cancelled when the response stream is closed. If that does not end this
    /// call, the token is never cancelled.
    stream_closed: CancellationToken,
}

impl Signals {
    /// Adds the token `closed`, so that the call also ends when its response stream is closed.
    pub(crate) fn with_stream_closed(mut self, closed: CancellationToken) -> Self {
        self.stream_closed = closed;
        self
    }

    /// Adds the token `ended`, so that the call also ends when its MCP session ends.
    pub(crate) fn with_session(mut self, ended: CancellationToken) -> Self {
        self.session_ended = ended;
        self
    }

    /// Returns whether the client has left, by the end of its session or response stream, so that
    /// it will not receive the result.
    pub(crate) fn is_abandoned(&self) -> bool {
        let Self {
            cancelled: _,
            dropped,
            session_ended,
            stream_closed,
        } = self;
        dropped.is_cancelled() || session_ended.is_cancelled() || stream_closed.is_cancelled()
    }

    /// Waits until the client has left, by the end of its session or response stream. Cancel-safe.
    pub(crate) async fn abandoned(&self) {
        tokio::select! {
            () = self.dropped.cancelled() => {}
            () = self.session_ended.cancelled() => {}
            () = self.stream_closed.cancelled() => {}
        }
    }

    /// Waits until the client cancels the call or has left, whichever is first. Cancel-safe.
    pub(crate) async fn any(&self) {
        tokio::select! {
            () = self.cancelled.cancelled() => {}
            () = self.abandoned() => {}
        }
    }
}

/// The running `execute` calls of one MCP session, by request id. Dropping this value ends the
/// calls early, as if the client had left.
#[derive(Debug, Default)]
pub(crate) struct RunningCalls {
    // A synchronous lock: held only to access the map, never across an await.
    calls: Mutex<HashMap<RequestId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    cancelled: CancellationToken,
    /// The guard that cancels [`Signals::dropped`] when the entry is dropped.
    _dropped: DropGuard,
}

impl RunningCalls {
    /// Registers an `execute` call under its request id, and returns the signals that end it early.
    pub(crate) fn enter(&self, request: RequestId) -> Signals {
        let signals = Signals::default();
        let entry = Entry {
            cancelled: signals.cancelled.clone(),
            _dropped: signals.dropped.clone().drop_guard(),
        };
        self.lock().insert(request, entry);
        signals
    }

    /// Removes an `execute` call that has ended. An unknown id is ignored.
    pub(crate) fn leave(&self, request: &RequestId) {
        self.lock().remove(request);
    }

    /// Cancels the call with this request id, because its client sent `notifications/cancelled`. An
    /// id that is not registered is ignored: the call has ended, or it has not begun and sees the
    /// cancel in its context.
    pub(crate) fn cancel(&self, request: &RequestId) {
        if let Some(entry) = self.lock().remove(request) {
            entry.cancelled.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Entry>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token that is cancelled when the response stream of an HTTP request is closed. It is in the
/// extensions of the request.
#[derive(Debug, Clone)]
pub(crate) struct StreamClosed(pub(crate) CancellationToken);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_and_the_end_of_the_session_are_different_signals() {
        let running = RunningCalls::default();
        let (first, second, third) = (
            running.enter(RequestId::Number(1)),
            running.enter(RequestId::Number(2)),
            running.enter(RequestId::Number(3)),
        );
        running.cancel(&RequestId::Number(1));
        running.cancel(&RequestId::Number(9));
        assert!(first.cancelled.is_cancelled());
        assert!(!second.cancelled.is_cancelled() && !second.dropped.is_cancelled());
        running.leave(&RequestId::Number(3));
        assert!(!third.cancelled.is_cancelled());
        drop(running);
        assert!(!second.cancelled.is_cancelled() && second.dropped.is_cancelled());
    }
}
