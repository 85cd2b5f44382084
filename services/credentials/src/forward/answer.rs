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
    /// Whether the answer belongs to a HEAD.
    is_head: bool,
    /// `None` after the end.
    record: Option<Record>,
    /// `None` after the end.
    lease: Option<Lease>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AnswerBody {
    /// Wraps the body of an answer with these headers. `is_head` says whether it belongs to a HEAD.
    #[must_use]
    pub fn new(
        inner: Incoming,
        headers: &HeaderMap,
        is_head: bool,
        record: Record,
        lease: Lease,
    ) -> Self {
        Self {
            inner,
            reader: AnswerReader::new(headers),
            is_head,
            cut: Box::pin(record.cut().clone().cancelled_owned()),
            record: Some(record),
            lease: Some(lease),
        }
    }

    /// Ends the record. A second call has no effect.
    ///
    /// The connection is closed unless the next request cannot mistake a byte on it for its own
    /// answer: the upload is complete, the answer, too, and it has no body that only the API counts
    /// as a part of it (HEAD).
    fn end(&mut self, is_complete: bool) {
        let Some(record) = self.record.take() else {
            return;
        };
        let may_reuse = is_complete && !self.is_head && record.is_sent();
        // Dropping the lease ends an upload that is not complete.
        if let Some(lease) = self.lease.take().filter(|_| may_reuse) {
            lease.release();
        }
        record.end(self.reader.facts(), is_complete);
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
                let facts = self.reader.facts();
                if let Some(record) = &mut self.record {
                    record.count(facts);
                }
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
