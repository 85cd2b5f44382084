//! Ends a stream when the token of its client is removed or expires.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::access::Caller;
use crate::service::Service;

/// The body of a stream, and the wait for the end of its client's token.
struct UntilRevoked {
    body: Body,
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Returns the response with a body that is aborted once the token of `caller` is removed or has
/// expired. The client sees a broken connection, and gets 401 when it connects again.
pub(super) fn end(response: Response, service: Arc<Service>, caller: Caller) -> Response {
    response.map(|body| {
        let revoked = Box::pin(async move { service.revoked(&caller).await });
        Body::new(UntilRevoked { body, revoked })
    })
}

impl http_body::Body for UntilRevoked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.revoked.as_mut().poll(cx).is_ready() {
            self.revoked = Box::pin(std::future::ready(()));
            let ended = std::io::Error::other("the token of the client was removed or has expired");
            return Poll::Ready(Some(Err(axum::Error::new(ended))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
