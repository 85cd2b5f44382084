//! A connection of hyper and the body of its answer, polled by the task that reads the body.
//!
//! hyper expects a task of its own for each connection. Such a task and the reader would wake each
//! other for each chunk, and tokio would wake a second thread for nothing. In one task these
//! wake-ups only set a flag.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http_body::Body;

/// A connection, and the body that arrives on it. `C` is a future that does the work of the
/// connection and ends with it. Its errors reach the body too.
pub(super) struct OneTask<C, B> {
    /// `None` after its end.
    connection: Option<C>,
    body: B,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// The wake-ups of a connection and its body.
#[derive(Default)]
struct Wakes {
    /// Whether the connection or the body is polled now.
    is_polling: AtomicBool,
    /// Whether one of them was woken since its last poll began.
    again: AtomicBool,
    /// The task that reads the body.
    reader: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        // While it polls, the reader looks at `again` itself.
        if !self.is_polling.load(Ordering::SeqCst) {
            self.reader.wake();
        }
    }
}

impl<C, B> OneTask<C, B>
where
    C: Future + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    /// Joins a body with the connection on which it arrives, which may have ended.
    pub(super) fn new(connection: Option<C>, body: B) -> Self {
        let wakes = Arc::new(Wakes::default());
        Self {
            connection,
            body,
            waker: Waker::from(Arc::clone(&wakes)),
            wakes,
        }
    }

    /// Returns the next bytes of the body, or `None` at its end. Trailers are left out.
    /// Cancel-safe. The connection makes no progress while this is not polled, so a slow reader
    /// reads no further ahead than hyper's buffer.
    ///
    /// # Errors
    /// The error of the body, such as a connection that ended early.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, B::Error> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, B::Error>> {
        self.wakes.reader.register(context.waker());
        loop {
            self.wakes.again.store(false, Ordering::SeqCst);
            self.wakes.is_polling.store(true, Ordering::SeqCst);
            let polled = self.poll_both();
            self.wakes.is_polling.store(false, Ordering::SeqCst);
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                // A wake-up after `is_polling` was cleared has woken the task.
                Poll::Pending if !self.wakes.again.load(Ordering::SeqCst) => {
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
    }

    /// Polls the body, and the connection if the body has nothing.
    fn poll_both(&mut self) -> Poll<Option<Result<http_body::Frame<Bytes>, B::Error>>> {
        let mut context = Context::from_waker(&self.waker);
        let polled = Pin::new(&mut self.body).poll_frame(&mut context);
        if polled.is_pending()
            && let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(&mut context).is_ready()
        {
            self.connection = None;
            // The body may have waited for the end of the connection.
            self.wakes.again.store(true, Ordering::SeqCst);
        }
        polled
    }
}

#[cfg(test)]
mod tests;
