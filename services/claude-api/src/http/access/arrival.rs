//! The time at which the last part of a request has arrived.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

/// The time at which the newest part of a request has arrived: its head, or a part of its body.
#[derive(Debug, Clone)]
pub(super) struct Arrival(
    // Held to read or replace the time; no await happens inside.
    Arc<Mutex<Instant>>,
);

impl Arrival {
    /// Returns the arrival of a request whose head has just arrived, and the request, whose body
    /// notes its parts from now on.
    pub(super) fn watch(request: Request) -> (Self, Request) {
        let arrival = Self(Arc::new(Mutex::new(Instant::now())));
        let watched = arrival.clone();
        let request = request.map(|inner| {
            Body::new(WatchedBody {
                inner,
                arrival: watched,
            })
        });
        (arrival, request)
    }

    /// Returns the time of the newest part.
    pub(super) fn time(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a request, which notes when its parts arrive.
struct WatchedBody {
    inner: Body,
    arrival: Arrival,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_ready() {
            let mut time = self
                .arrival
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *time = Instant::now();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_late_body_counts_and_a_request_without_one_has_the_time_of_its_head() {
        let (arrival, request) = Arrival::watch(Request::new(Body::empty()));
        let head = arrival.time();
        drop(request);
        assert_eq!(arrival.time(), head);
        let (arrival, request) = Arrival::watch(Request::new(Body::from("x")));
        let sent = Instant::now();
        assert!(arrival.time() <= sent);
        request.into_body().collect().await.unwrap();
        assert!(arrival.time() >= sent);
    }
}
