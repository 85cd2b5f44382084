//! The activity of one HTTP connection: whether it waits for the head of a request, is idle, or is
//! in a request. The first two have time limits.
//!
//! ```text
//! Head --- request ---> InRequest
//!   ^                       |
//!   | first byte            | the response has ended
//!   +-------- Idle <--------+
//! ```
//!
//! - Head: the connection is new, or the first byte of a request has arrived. The limit is
//!   `--head-ms`.
//! - Idle: the connection is between two requests. The limit is `--keep-alive-ms`.
//! - InRequest: a handler runs, or the client receives the response. There is no limit here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The state of a connection, as in the diagram of this module. The time is when it began.
#[derive(Debug, Clone, Copy)]
enum State {
    Head(Instant),
    Idle(Instant),
    InRequest,
}

/// The time limit that a connection has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The head of a request took too long.
    Head,
    /// The connection was idle for too long.
    Idle,
}

/// The activity of one connection. Clones refer to the same one.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    /// Whether the state is Idle. It is checked at each read, so it is not behind a lock.
    is_idle: AtomicBool,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: watch::Sender::new(State::Head(Instant::now())),
            is_idle: AtomicBool::new(false),
        }))
    }
}

impl Activity {
    fn set(&self, state: State) {
        let is_idle = matches!(state, State::Idle(_));
        self.0.is_idle.store(is_idle, Ordering::Relaxed);
        self.0.state.send_replace(state);
    }

    /// Records that bytes have arrived.
    fn note_read(&self) {
        if self.0.is_idle.load(Ordering::Relaxed) {
            self.set(State::Head(Instant::now()));
        }
    }

    /// Returns since when the connection waits for its client. `None` while it has a request.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match *self.0.state.borrow() {
            State::Head(since) | State::Idle(since) => Some(since),
            State::InRequest => None,
        }
    }

    /// Records that the head of a request is complete.
    pub(super) fn begin(&self) {
        self.set(State::InRequest);
    }

    /// Returns the response, changed so that the connection is idle once its body has ended.
    pub(super) fn until_sent(&self, response: Response) -> Response {
        let activity = self.clone();
        response.map(|inner| Body::new(WatchedBody { inner, activity }))
    }

    /// Waits until the connection has exceeded a time limit. Cancel-safe.
    pub(super) async fn expired(&self, head: Duration, keep_alive: Duration) -> Expired {
        let mut state = self.0.state.subscribe();
        loop {
            let (end, expired) = match *state.borrow_and_update() {
                State::Head(began) => (Some(began + head), Expired::Head),
                State::Idle(began) => (Some(began + keep_alive), Expired::Idle),
                State::InRequest => (None, Expired::Idle),
            };
            let changed = state.changed();
            // The sender lives as long as `self`, so the channel does not close.
            let result = match end {
                Some(end) => timeout_at(end, changed).await,
                None => Ok(changed.await),
            };
            if result.is_err() {
                return expired;
            }
        }
    }
}

/// The body of a response, which reports its end to the activity of its connection.
struct WatchedBody {
    inner: Body,
    activity: Activity,
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.activity.set(State::Idle(Instant::now()));
    }
}

impl hyper::body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection that reports its reads to its activity.
#[derive(Debug)]
pub(super) struct WatchedStream<T> {
    inner: T,
    activity: Activity,
}

impl<T> WatchedStream<T> {
    /// Wraps a connection.
    pub(super) fn new(inner: T, activity: Activity) -> Self {
        Self { inner, activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.note_read();
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WatchedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_head_and_an_idle_connection_have_their_own_time_limits() {
        let activity = Activity::default();
        assert_eq!(activity.expired(SHORT, LONG).await, Expired::Head);
        activity.begin();
        let in_request = activity.expired(Duration::ZERO, Duration::ZERO);
        assert!(tokio::time::timeout(SHORT, in_request).await.is_err());
        drop(activity.until_sent(Response::default()));
        assert_eq!(activity.expired(LONG, SHORT).await, Expired::Idle);
        activity.note_read();
        assert_eq!(activity.expired(SHORT, LONG).await, Expired::Head);
    }
}
