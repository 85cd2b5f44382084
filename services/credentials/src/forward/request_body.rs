//! The body of a request while it is forwarded to the API.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::request::body::BodyCheck;
use crate::request::refusal::Refusal;
use crate::upstream::body::BodyError;

/// A body whose pieces are checked before the API gets them. Trailers are dropped.
#[derive(Debug)]
pub struct CheckedBody {
    inner: Incoming,
    check: BodyCheck,
    /// The refusal of a piece. The forwarder reads it after the request has failed.
    refusal: Arc<OnceLock<Refusal>>,
    is_finished: bool,
}

impl CheckedBody {
    /// Wraps the body of a client. A refusal of `check` is stored in `refusal` before the body ends
    /// with an error.
    #[must_use]
    pub fn new(inner: Incoming, check: BodyCheck, refusal: Arc<OnceLock<Refusal>>) -> Self {
        Self {
            inner,
            check,
            refusal,
            is_finished: false,
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> BodyError {
        self.is_finished = true;
        // The first refusal counts.
        let _ = self.refusal.set(refusal);
        BodyError::Refused
    }

    /// Checks a piece, and the whole body if the piece is the last one.
    fn check(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let checked = self.check.push(piece);
        let checked = if self.inner.is_end_stream() {
            self.is_finished = true;
            checked.and_then(|()| self.check.finish())
        } else {
            checked
        };
        checked.map_err(|refusal| self.refuse(refusal))
    }
}

impl Body for CheckedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None if self.is_finished => return Poll::Ready(None),
                None => {
                    self.is_finished = true;
                    let finished = self.check.finish();
                    let error = finished.err().map(|refusal| Err(self.refuse(refusal)));
                    return Poll::Ready(error);
                }
            };
            if let Ok(data) = frame.into_data() {
                let checked = self.check(&data);
                return Poll::Ready(Some(checked.map(|()| Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // An empty body is not finished before it was checked.
        self.is_finished && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
