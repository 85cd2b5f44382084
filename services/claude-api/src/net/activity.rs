//! The activity of one connection: it decides whether the connection may keep its place.
//!
//! ```text
//! Head ──request──▶ Working ◀──▶ Receiving (the request's body)
//!   ▲                  │  ◀──▶ Sending (the client does not read a short answer)
//!   │first byte        ├──▶ Streaming (an output, events or statuses)
//!   └──── Idle ◀───────┴──────────┘ the answer has ended
//! ```
//!
//! - Head: the connection is new, or the first byte of a request has come; `--head-ms` bounds it.
//! - Idle: between two requests; `--keep-alive-ms` bounds it.
//! - Receiving, Sending: the client's turn; no time limit here (a body has its own), but the place
//!   may be needed.
//! - Working, Streaming: claude-api's turn, or a slow reader of a stream; never ended for another
//!   connection.
//! - Evicted: closed to make room.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;

/// The states of the module's diagram, with the time since when the client's turn lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Head(Instant),
    Idle(Instant),
    Receiving(Instant),
    /// True when the answer has ended: the connection becomes Idle once the client has read it.
    Sending(Instant, bool),
    Working,
    Streaming,
    Evicted,
}

/// The state of one connection, shared by its socket, its request and its task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<watch::Sender<Doing>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Doing::Head(Instant::now()))))
    }
}

/// How long a connection may wait for its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// For the head of a request.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) keep_alive: Duration,
}

impl Activity {
    fn change(&self, next: impl FnOnce(Doing) -> Option<Doing>) {
        self.0.send_if_modified(|doing| match next(*doing) {
            Some(next) => {
                *doing = next;
                true
            }
            None => false,
        });
    }

    /// Notes that bytes arrived from the client.
    pub(super) fn received(&self) {
        self.change(|doing| matches!(doing, Doing::Idle(_)).then(|| Doing::Head(Instant::now())));
    }

    /// Notes that the client read bytes, or does not read.
    pub(super) fn sent(&self, takes_none: bool) {
        self.change(|doing| match doing {
            Doing::Working if takes_none => Some(Doing::Sending(Instant::now(), false)),
            Doing::Idle(_) if takes_none => Some(Doing::Sending(Instant::now(), true)),
            Doing::Sending(_, false) if !takes_none => Some(Doing::Working),
            Doing::Sending(_, true) if !takes_none => Some(Doing::Idle(Instant::now())),
            _ => None,
        });
    }

    /// Notes that the head of a request is complete.
    pub(crate) fn begin(&self) -> Exchange {
        self.change(|doing| (doing != Doing::Evicted).then_some(Doing::Working));
        Exchange(self.clone())
    }

    /// Notes that the answer is a stream.
    pub(crate) fn stream(&self) {
        self.change(|doing| (doing != Doing::Evicted).then_some(Doing::Streaming));
    }

    /// Returns since when the connection waits for its client, if it may be closed for another.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        match *self.0.borrow() {
            Doing::Head(since)
            | Doing::Idle(since)
            | Doing::Receiving(since)
            | Doing::Sending(since, _) => Some(since),
            Doing::Working | Doing::Streaming | Doing::Evicted => None,
        }
    }

    pub(super) fn evict(&self) {
        self.0.send_replace(Doing::Evicted);
    }

    /// Waits until the connection must be closed, and returns the reason.
    pub(crate) async fn close_due(&self, timeouts: Timeouts) -> &'static str {
        let mut doing = self.0.subscribe();
        loop {
            let now = *doing.borrow_and_update();
            let (until, why) = match now {
                Doing::Evicted => return "another connection needed its place",
                Doing::Head(since) => (
                    since + timeouts.head,
                    "no complete request head arrived in time",
                ),
                Doing::Idle(since) => (since + timeouts.keep_alive, "the connection was idle"),
                _ => {
                    // The channel cannot close: the sender is `self`.
                    let _ = doing.changed().await;
                    continue;
                }
            };
            if tokio::time::timeout_at(until, doing.changed())
                .await
                .is_err()
            {
                return why;
            }
        }
    }
}

/// A request from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct Exchange(Activity);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0
            .change(|doing| (doing != Doing::Evicted).then(|| Doing::Idle(Instant::now())));
    }
}

/// A request's body that notes when it waits for its client.
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
        self.activity.change(|doing| match doing {
            Doing::Working if waits => Some(Doing::Receiving(Instant::now())),
            Doing::Receiving(_) if !waits => Some(Doing::Working),
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
            .change(|doing| matches!(doing, Doing::Receiving(_)).then_some(Doing::Working));
    }
}

/// An answer's body, and the exchange that ends with it.
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
    async fn a_head_has_its_time_and_an_idle_connection_another() {
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
    async fn work_and_streams_have_no_limit_and_are_never_evicted() {
        let activity = Activity::default();
        let exchange = activity.begin();
        for stream in [false, true] {
            if stream {
                activity.stream();
            }
            assert_eq!(activity.waits_since(), None);
            let over = activity.close_due(TIMEOUTS);
            assert!(
                tokio::time::timeout(3 * TIMEOUTS.keep_alive, over)
                    .await
                    .is_err()
            );
        }
        activity.sent(true);
        assert_eq!(activity.waits_since(), None, "a slow reader is no fault");
        drop(exchange);
        activity.sent(true);
        assert!(activity.waits_since().is_some());
        let over = activity.close_due(TIMEOUTS);
        assert!(
            tokio::time::timeout(3 * TIMEOUTS.keep_alive, over)
                .await
                .is_err()
        );
        activity.evict();
        assert!(activity.close_due(TIMEOUTS).await.contains("place"));
    }
}
