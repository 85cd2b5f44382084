//! The body of a request while it is forwarded to the API.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::upload::Upload;
use crate::request::body::BodyCheck;
use crate::request::refusal::Refusal;
use crate::upstream::body::BodyError;

/// A body whose pieces are checked before the API gets them. Trailers are dropped.
#[derive(Debug)]
pub struct CheckedBody {
    inner: Incoming,
    check: BodyCheck,
    /// The progress, with the mistake of the client. The forwarder reads it after the request has
    /// failed.
    upload: Upload,
    is_finished: bool,
}

impl CheckedBody {
    /// Wraps the body of a client. A mistake of the client is stored in `upload` before the body
    /// ends with an error.
    #[must_use]
    pub fn new(inner: Incoming, check: BodyCheck, upload: Upload) -> Self {
        Self {
            inner,
            check,
            upload,
            is_finished: false,
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> BodyError {
        self.is_finished = true;
        self.upload.fail(refusal);
        BodyError::Refused
    }

    /// Ends the body after its last piece.
    fn finish(&mut self) -> Result<(), BodyError> {
        self.is_finished = true;
        self.check
            .finish()
            .map_err(|refusal| self.refuse(refusal))?;
        let price = self.check.price();
        self.upload.finish(price.model.clone(), price.is_fast);
        Ok(())
    }

    /// Checks a piece, and the whole body if the piece is the last one.
    fn check(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let checked = self.check.push(piece);
        checked.map_err(|refusal| self.refuse(refusal))?;
        self.upload.pass(piece.len());
        if self.inner.is_end_stream() {
            self.finish()?;
        }
        Ok(())
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
                Some(Err(error)) => {
                    let mistake = format!("the body did not arrive: {error}");
                    self.upload.fail(Refusal::invalid(mistake));
                    return Poll::Ready(Some(Err(error.into())));
                }
                None if self.is_finished => return Poll::Ready(None),
                None => return Poll::Ready(self.finish().err().map(Err)),
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
