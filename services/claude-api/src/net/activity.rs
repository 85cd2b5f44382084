//! The activity of one connection, which decides whether the connection may be closed for another.
//!
//! ```text
//! Head ──request──▶ Working ◀──▶ Receiving (the request's body)
//!   ▲                  │  ◀──▶ Sending (the client does not read a short answer)
//!   │first byte        ├──▶ Streaming (an output, events or statuses)
//!   └──── Idle ◀───────┴──────────┘ the answer has ended
//! ```
//!
//! - Head: the connection is new, or the first byte of a request has arrived; `--head-ms` bounds
//!   it.
//! - Idle: the connection is between two requests; `--keep-alive-ms` bounds it.
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

/// The state of a connection, as in the diagram of this module. The time is when the connection
/// began to wait for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head(Instant),
    Idle(Instant),
    Receiving(Instant),
    /// The flag is true if the answer has ended: the connection becomes Idle once the client has
    /// read the answer.
    Sending(Instant, bool),
    Working,
    Streaming,
    Evicted,
}

/// The state of one connection, shared by its socket, its request and its task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<watch::Sender<State>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Head(Instant::now()))))
    }
}

/// The time limits of a connection that waits for its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// The time limit for the head of a request.
    pub(crate) head: Duration,
    /// The time limit between two requests.
    pub(crate) keep_alive: Duration,
}

impl Activity {
    fn change(&self, next: impl FnOnce(State) -> Option<State>) {
        self.0.send_if_modified(|state| match next(*state) {
            Some(next) => {
                *state = next;
                true
            }
            None => false,
        });
    }

    /// Notes that bytes arrived from the client.
    pub(super) fn received(&self) {
        self.change(|state| matches!(state, State::Idle(_)).then(|| State::Head(Instant::now())));
    }

    /// Notes a write to the client. `is_blocked` means that the client does not read, so the socket
    /// is full.
    pub(super) fn sent(&self, is_blocked: bool) {
        self.change(|state| match state {
            State::Working if is_blocked => Some(State::Sending(Instant::now(), false)),
            State::Idle(_) if is_blocked => Some(State::Sending(Instant::now(), true)),
            State::Sending(_, false) if !is_blocked => Some(State::Working),
            State::Sending(_, true) if !is_blocked => Some(State::Idle(Instant::now())),
            _ => None,
        });
    }

    /// Notes that the head of a request is complete. Returns the guard of the request: when it is
    /// dropped, the connection is idle.
    pub(crate) fn begin(&self) -> Exchange {
        self.change(|state| (state != State::Evicted).then_some(State::Working));
        Exchange(self.clone())
    }

    /// Notes that the answer is a stream, so the connection is not closed for another.
    pub(crate) fn stream(&self) {
        self.change(|state| (state != State::Evicted).then_some(State::Streaming));
    }

    /// Returns when the wait for the client began; `None` if the connection must not be closed for
    /// another.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match *self.0.borrow() {
            State::Head(since)
            | State::Idle(since)
            | State::Receiving(since)
            | State::Sending(since, _) => Some(since),
            State::Working | State::Streaming | State::Evicted => None,
        }
    }

    /// Orders the connection to close, to make room for another.
    pub(super) fn evict(&self) {
        self.0.send_replace(State::Evicted);
    }

    /// Waits until the connection must be closed: a time limit has passed, or another connection
    /// needs its permit. Returns the reason in words.
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

/// The guard of a request, which lasts from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct Exchange(Activity);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0
            .change(|state| (state != State::Evicted).then(|| State::Idle(Instant::now())));
    }
}

/// The body of a request, which notes when it waits for its client.
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

/// The body of an answer, which keeps its request counted until the answer has ended.
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
