//! The byte stream under a WebSocket. It counts the bytes that the peer read, and one read never
//! returns bytes of two frames. So tungstenite's buffer is empty after each message, and a buffer
//! that grew for a large message can be released.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{FrameTracker, ReadBytes};
use super::message_charge::MessageCharge;
use crate::budget::inbound::InboundCharge;

/// The most bytes that are read ahead: enough for several small requests.
const AHEAD_BYTES: usize = 1024;

/// The byte stream of one session.
#[derive(Debug)]
pub struct Transport<T> {
    /// None in a transport that [`Self::empty`] made.
    inner: Option<T>,
    charge: Option<MessageCharge>,
    written: u64,
    /// Bytes that were handed over.
    read: ReadBytes,
    frames: FrameTracker,
    /// Bytes that were read ahead. Those from `start` on are not handed over yet. An idle session
    /// holds no buffer.
    ahead: Vec<u8>,
    start: usize,
}

impl<T> Transport<T> {
    /// Creates the stream of a new connection. Without `charge` no budget is charged.
    pub fn new(inner: T, charge: Option<MessageCharge>) -> Self {
        Self {
            inner: Some(inner),
            charge,
            ..Self::empty()
        }
    }

    /// Creates a placeholder for a transport that was moved out. Every use of the placeholder is an
    /// error.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            inner: None,
            charge: None,
            written: 0,
            read: ReadBytes::default(),
            frames: FrameTracker::default(),
            ahead: Vec::new(),
            start: 0,
        }
    }

    /// Returns the bytes that the kernel accepted so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns the bytes that were handed over so far.
    #[must_use]
    pub(super) fn read_bytes(&self) -> ReadBytes {
        self.read
    }

    /// Whether an unfinished message holds a part of the budget.
    #[must_use]
    pub fn holds_budget(&self) -> bool {
        self.charge.as_ref().is_some_and(MessageCharge::holds_bytes)
    }

    /// Whether the unfinished message was evicted.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.charge.as_ref().is_some_and(MessageCharge::is_evicted)
    }

    /// Whether only whole messages were handed over, so that the reader holds no part of a message.
    #[must_use]
    pub fn is_boundary(&self) -> bool {
        self.frames.is_boundary()
    }

    /// Takes the charge of the message that was read.
    pub fn take_charge(&mut self) -> Option<InboundCharge> {
        self.charge.as_mut().and_then(MessageCharge::finish)
    }

    /// Gives up the unfinished message, and reads no more of it.
    pub fn give_up_message(&mut self) {
        // The charge is released immediately.
        drop(self.take_charge());
    }

    /// Whether a message waits for room although no other unfinished message holds any.
    #[must_use]
    pub fn waits_alone(&self) -> bool {
        let charge = self.charge.as_ref();
        charge.is_some_and(MessageCharge::waits_alone)
    }

    /// Whether a large message waits for room in the budget.
    #[must_use]
    pub fn waits_for_budget(&self) -> bool {
        self.charge.as_ref().is_some_and(MessageCharge::waits)
    }

    /// Notes that payload was handed over. `old`: the payload bytes before.
    fn grow(&mut self, old: u64) {
        if let Some(charge) = &mut self.charge {
            charge.grow(self.read.payload - old);
        }
    }

    /// Returns the byte stream itself. Its reads bypass the frames and the budget.
    pub fn raw(&mut self) -> Option<&mut T> {
        self.inner.as_mut()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Transport<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let inner = this.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let allowed = match &mut this.charge {
            Some(charge) => ready!(charge.poll_room(&this.frames, cx)),
            None => u64::MAX,
        };
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        let limit = this.frames.next_limit().min(buf.remaining()).min(allowed);
        let payload = this.read.payload;
        if this.start < this.ahead.len() {
            let end = this.ahead.len().min(this.start + limit);
            let bytes = &this.ahead[this.start..end];
            buf.put_slice(bytes);
            this.frames.advance(bytes, &mut this.read);
            this.grow(payload);
            this.start = end;
            if this.start == this.ahead.len() {
                (this.ahead, this.start) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        if limit >= AHEAD_BYTES {
            // A large payload is read directly into the caller's buffer.
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(limit));
            ready!(Pin::new(&mut *inner).poll_read(cx, &mut part))?;
            this.frames.advance(part.filled(), &mut this.read);
            let count = part.filled().len();
            this.grow(payload);
            buf.advance(count);
            return Poll::Ready(Ok(()));
        }
        let mut space = [MaybeUninit::uninit(); AHEAD_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *inner).poll_read(cx, &mut read))?;
        let (now, later) = read.filled().split_at(read.filled().len().min(limit));
        buf.put_slice(now);
        this.frames.advance(now, &mut this.read);
        this.grow(payload);
        this.ahead.extend_from_slice(later);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let result = Pin::new(inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &result {
            self.written += *count as u64;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Pin::new(inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
