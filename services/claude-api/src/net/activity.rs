//! The activity of one HTTP connection: whether it waits for its client or serves it. This decides
//! whether the connection may be closed to make room for another.
//!
//! ```text
//! Head ──request──▶ Working ◀──▶ Receiving (the request's body)
//!   ▲                  │  ◀──▶ Sending (the client does not read a short answer)
//!   │first byte        ├──▶ Streaming (an output, events or statuses)
//!   └──── Idle ◀───────┴──────────┘ the answer has ended
//! ```
//!
//! - Head: the connection is new, or the first byte of a request has arrived. The limit is
//!   `--head-ms`.
//! - Idle: the connection is between two requests. The limit is `--keep-alive-ms`.
//! - Receiving, Sending: claude-api waits for the client. There is no time limit here (a body has
//!   its own), but the connection may be closed for another.
//! - Working, Streaming: the client waits for claude-api, or reads a stream slowly. The connection
//!   is never closed for another.
//! - Evicted: the connection must close to make room.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;

/// The state of an HTTP connection, as in the diagram of this module. The time in a variant is when
/// the connection began to wait for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The connection is new, or a request's first byte has arrived and the rest of its head has
    /// not.
    Head(Instant),
    /// The connection is open between two requests.
    Idle(Instant),
    /// The service waits for more bytes of a request's body.
    Receiving(Instant),
    /// The service waits until the client reads more of a short answer. The flag is true if the
    /// answer has ended; the connection then becomes Idle once the client has read it.
    Sending(Instant, bool),
    /// The service handles a request, and the client waits.
    Working,
    /// The service sends a stream, which the client may read slowly.
    Streaming,
    /// The connection must close, to make room for another.
    Evicted,
}

/// The state of one HTTP connection, shared by its socket, its current request and its task. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<watch::Sender<State>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Head(Instant::now()))))
    }
}

/// The time limits of a connection that waits for its client. A connection that reaches one is
/// closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// The time in which the complete head of a request must arrive (`--head-ms`).
    pub(crate) head: Duration,
    /// The longest time between two requests (`--keep-alive-ms`).
    pub(crate) keep_alive: Duration,
}

impl Activity {
    /// Changes the state if `next` returns a new one, and wakes the task that waits in `close_due`.
    fn change(&self, next: impl FnOnce(State) -> Option<State>) {
        self.0.send_if_modified(|state| match next(*state) {
            Some(next) => {
                *state = next;
                true
            }
            None => false,
        });
    }

    /// Records that bytes arrived from the client. On an idle connection, a new request begins.
    pub(super) fn received(&self) {
        self.change(|state| matches!(state, State::Idle(_)).then(|| State::Head(Instant::now())));
    }

    /// Records a write to the client. `is_blocked` means that the socket's send buffer is full,
    /// because the client does not read. A blocked short answer makes the connection wait for its
    /// client.
    pub(super) fn sent(&self, is_blocked: bool) {
        self.change(|state| match state {
            State::Working if is_blocked => Some(State::Sending(Instant::now(), false)),
            State::Idle(_) if is_blocked => Some(State::Sending(Instant::now(), true)),
            State::Sending(_, false) if !is_blocked => Some(State::Working),
            State::Sending(_, true) if !is_blocked => Some(State::Idle(Instant::now())),
            _ => None,
        });
    }

    /// Records that the head of a request is complete, so the connection serves its client. Returns
    /// a guard; when it is dropped, the request is over and the connection is idle.
    pub(crate) fn begin(&self) -> Exchange {
        self.change(|state| (state != State::Evicted).then_some(State::Working));
        Exchange(self.clone())
    }

    /// Records that the answer is a stream. The connection is then never closed for another, even
    /// if its client reads slowly.
    pub(crate) fn stream(&self) {
        self.change(|state| (state != State::Evicted).then_some(State::Streaming));
    }

    /// Returns when the connection began to wait for its client. `None` if it serves its client, so
    /// that it must not be closed for another, or if it is already being closed.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match *self.0.borrow() {
            State::Head(since)
            | State::Idle(since)
            | State::Receiving(since)
            | State::Sending(since, _) => Some(since),
            State::Working | State::Streaming | State::Evicted => None,
        }
    }

    /// Orders the connection to close, to make room for another. Its task is woken in `close_due`.
    pub(super) fn evict(&self) {
        self.0.send_replace(State::Evicted);
    }

    /// Waits until the connection must be closed, because a time limit has passed or another
    /// connection needs its permit. Returns the reason in words.
    pub(crate) async fn close_due(&self, timeouts: Timeouts) -> &'static str {
        let mut state = self.0.subscribe();
        loop {
            let now = *state.borrow_and_update();
            let (until, reason) = match now {
                State::Evicted => return "it was closed to make room for another connection",
                State::Head(since) => (
                    since + timeouts.head,
                    "no complete request head arrived in time",
                ),
                State::Idle(since) => (since + timeouts.keep_alive, "the connection was idle"),
                _ => {
                    // The channel cannot close: the sender is `self`.
                    let _ = state.changed().await;
                    continue;
                }
            };
            if tokio::time::timeout_at(until, state.changed())
                .await
                .is_err()
            {
                return reason;
            }
        }
    }
}

/// The guard of one request and its answer. Dropping it, at the end of the answer, makes the
/// connection idle.
#[derive(Debug)]
pub(crate) struct Exchange(Activity);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0
            .change(|state| (state != State::Evicted).then(|| State::Idle(Instant::now())));
    }
}

/// The body of a request. While its reader waits for bytes, the connection counts as waiting for
/// its client.
pub(crate) struct Received<B> {
    pub(crate) body: B,
    pub(crate) activity: Activity,
}

impl<B: Body + Unpin> Body for Received<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let waits = frame.is_pending();
        self.activity.change(|state| match state {
            State::Working if waits => Some(State::Receiving(Instant::now())),
            State::Receiving(_) if !waits => Some(State::Working),
            _ => None,
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Received<B> {
    fn drop(&mut self) {
        self.activity
            .change(|state| matches!(state, State::Receiving(_)).then_some(State::Working));
    }
}

/// The body of an answer. The connection becomes idle when the body is dropped, at its end or when
/// the client is gone.
pub(crate) struct Answered<B> {
    pub(crate) body: B,
    pub(crate) _exchange: Exchange,
}

impl<B: Body + Unpin> Body for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_millis(40),
        keep_alive: Duration::from_millis(120),
    };

    #[tokio::test]
    async fn a_head_and_an_idle_connection_have_separate_time_limits() {
        let activity = Activity::default();
        let begun = Instant::now();
        assert!(activity.close_due(TIMEOUTS).await.contains("head"));
        assert!(begun.elapsed() >= TIMEOUTS.head / 2);
        drop(activity.begin());
        let begun = Instant::now();
        assert!(activity.close_due(TIMEOUTS).await.contains("idle"));
        assert!(begun.elapsed() >= TIMEOUTS.keep_alive);
        activity.received();
        let begun = Instant::now();
        assert!(activity.close_due(TIMEOUTS).await.contains("head"));
        assert!(begun.elapsed() >= TIMEOUTS.head);
    }

    #[tokio::test]
    async fn work_and_streams_have_no_time_limit_and_may_not_be_evicted() {
        let activity = Activity::default();
        let exchange = activity.begin();
        for stream in [false, true] {
            if stream {
                activity.stream();
            }
            assert_eq!(activity.waiting_since(), None);
            let due = activity.close_due(TIMEOUTS);
            assert!(
                tokio::time::timeout(3 * TIMEOUTS.keep_alive, due)
                    .await
                    .is_err()
            );
        }
        activity.sent(true);
        assert_eq!(activity.waiting_since(), None, "a slow reader is no fault");
        drop(exchange);
        activity.sent(true);
        assert!(activity.waiting_since().is_some());
        let due = activity.close_due(TIMEOUTS);
        assert!(
            tokio::time::timeout(3 * TIMEOUTS.keep_alive, due)
                .await
                .is_err()
        );
        activity.evict();
        assert!(activity.close_due(TIMEOUTS).await.contains("room"));
    }
}
