//! Waits for the next event of a session, in one poll over its socket, the channels of its tasks,
//! and its timers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::WaitForCancellationFuture;

use crate::session::{Session, Wakeup};

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    /// Polls for the next event of the session. A stop or a revoked token, a ping interval and an
    /// eviction have precedence. Reading and writing alternate in being first, so a flood of
    /// requests cannot starve the output, nor the reverse. `Pending` means that the task is woken
    /// by the next event.
    pub(in crate::session) fn poll_wakeup(
        &mut self,
        cx: &mut Context<'_>,
        revoked: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Poll<Wakeup> {
        if revoked.poll(cx).is_ready() {
            return Poll::Ready(Wakeup::Revoked);
        }
        if self.ping.poll_tick(cx).is_ready() {
            return Poll::Ready(Wakeup::Tick);
        }
        if self.socket.is_evicted() {
            return Poll::Ready(Wakeup::Evicted);
        }
        let is_short = self.share.is_short();
        self.machine.set_unsent(self.socket.unsent(), is_short);
        if self.read_first
            && let Poll::Ready(wakeup) = self.poll_read(cx)
        {
            return Poll::Ready(wakeup);
        }
        if let Poll::Ready(Some(completion)) = self.completions.poll_recv(cx) {
            return Poll::Ready(Wakeup::Completion(completion));
        }
        match self.socket.poll_room(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Wakeup::Broken),
            Poll::Ready(Ok(())) => {
                self.lists.sent();
                self.machine.set_unsent(0, is_short);
                let queries = self.machine.start_queries();
                if !queries.is_empty() {
                    return Poll::Ready(Wakeup::Queries(queries));
                }
                if let Poll::Ready(Some(message)) = self.messages.poll_recv(cx) {
                    return Poll::Ready(Wakeup::View(message));
                }
                // Nothing more to send for now: flush the buffered bytes.
                if let Poll::Ready(Err(_)) = self.socket.poll_flush(cx) {
                    return Poll::Ready(Wakeup::Broken);
                }
            }
            Poll::Pending => {}
        }
        if self.read_first {
            Poll::Pending
        } else {
            self.read_first = true;
            self.poll_read(cx)
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Wakeup> {
        if !self.machine.is_full() {
            self.socket.poll_read(cx).map(Wakeup::Received)
        } else {
            // A sent answer or the result of a call makes room, and wakes the task.
            self.socket.note_skipped_read();
            Poll::Pending
        }
    }
}
