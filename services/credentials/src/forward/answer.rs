//! The body of an answer while it is forwarded to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::record::Record;
use crate::upstream::pool::Lease;
use crate::usage::AnswerReader;

/// The reason why an answer is cut. The client's connection is then closed, so that a cut answer
/// never looks complete.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The grant was revoked.
    #[error("the grant was revoked")]
    Revoked,
    /// The connection to the API broke.
    #[error("the connection to the API broke: {0}")]
    Broken(#[from] hyper::Error),
}

/// The body of an answer, which is read for its cost while it passes. Dropping it before its end
/// closes the connection to the API. Trailers are dropped.
#[derive(Debug)]
pub struct AnswerBody {
    inner: Incoming,
    reader: AnswerReader,
    /// `None` after the end.
    record: Option<Record>,
    /// `None` after the end.
    lease: Option<Lease>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AnswerBody {
    /// Wraps the body of an answer with these headers.
    #[must_use]
    pub fn new(inner: Incoming, headers: &HeaderMap, record: Record, lease: Lease) -> Self {
        Self {
            inner,
            reader: AnswerReader::new(headers),
            cut: Box::pin(record.cut().clone().cancelled_owned()),
            record: Some(record),
            lease: Some(lease),
        }
    }

    /// Ends the record. A second call has no effect.
    fn end(&mut self, is_complete: bool) {
        let lease = self.lease.take().filter(|_| is_complete);
        if let Some(lease) = lease {
            lease.release();
        }
        if let Some(record) = self.record.take() {
            record.end(self.reader.facts(), is_complete);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if self.record.is_some() && self.cut.as_mut().poll(cx).is_ready() {
            self.end(false);
            return Poll::Ready(Some(Err(AnswerError::Revoked)));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.end(false);
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.end(true);
                    return Poll::Ready(None);
                }
            };
            if let Ok(data) = frame.into_data() {
                self.reader.push(&data);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let is_complete = self.inner.is_end_stream();
        self.end(is_complete);
    }
}
