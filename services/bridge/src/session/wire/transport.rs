//! The byte stream between a session's connection and tungstenite. It charges large messages to the
//! memory budget for incoming messages before they are read. It limits the frames in a second, and
//! counts the bytes in both directions.
//!
//! One read never returns bytes of two frames. So tungstenite's buffer is empty after each message,
//! and a buffer that grew for a large message can be released.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame_rate::FrameRate;
use super::frames::{FrameTracker, ReadBytes};
use super::message_charge::MessageCharge;
use crate::budget::inbound::InboundCharge;

/// The most bytes that a read for a frame header or a short payload takes from the connection. The
/// rest waits in `ahead`. 1 KiB holds several small requests, which then need a single system call.
const AHEAD_BYTES: usize = 1024;

/// The connection of one session, as the byte stream that tungstenite reads from and writes to.
#[derive(Debug)]
pub struct Transport<T> {
    /// The connection. `None` in a placeholder made by [`Self::empty`].
    inner: Option<T>,
    /// Reserves memory for large messages before they are read. `None` if messages are read without
    /// reserving memory.
    charge: Option<MessageCharge>,
    /// The limit of frames in a second. `None` if there is none.
    frame_rate: Option<FrameRate>,
    /// How many bytes the kernel has accepted for sending.
    written: u64,
    /// How many received bytes tungstenite has been given.
    read: ReadBytes,
    /// The position in the received frames.
    frames: FrameTracker,
    /// Bytes that were read from the connection before they were needed. tungstenite has been given
    /// those before the index `start`. Empty and without memory in an idle session.
    ahead: Vec<u8>,
    start: usize,
}

impl<T> Transport<T> {
    /// Creates the byte stream of a connection. `charge` reserves memory for large messages in the
    /// budget for incoming messages, and pauses the reading while the budget has no room. `None`
    /// means that messages are read without reserving memory.
    pub fn new(inner: T, charge: Option<MessageCharge>) -> Self {
        Self {
            inner: Some(inner),
            charge,
            ..Self::empty()
        }
    }

    /// Creates a placeholder without a connection. It takes the place of a transport that is moved
    /// into a new WebSocket stream. Reading or writing it fails with `NotConnected`.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            inner: None,
            charge: None,
            frame_rate: None,
            written: 0,
            read: ReadBytes::default(),
            frames: FrameTracker::default(),
            ahead: Vec::new(),
            start: 0,
        }
    }

    /// Limits the frames that are read in a second.
    pub fn limit_frames(&mut self, rate: FrameRate) {
        self.frame_rate = Some(rate);
    }

    /// Returns how often the reading began to wait for the limit of frames since the last call.
    pub(super) fn take_frame_waits(&mut self) -> u32 {
        self.frame_rate.as_mut().map_or(0, FrameRate::take_waits)
    }

    /// Returns how many bytes the kernel has accepted for sending since the connection began.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many received bytes tungstenite has been given since the connection began.
    #[must_use]
    pub(super) fn read_bytes(&self) -> ReadBytes {
        self.read
    }

    /// Returns whether the message that is being received holds a part of the memory budget for
    /// incoming messages.
    #[must_use]
    pub fn holds_budget(&self) -> bool {
        self.charge.as_ref().is_some_and(MessageCharge::holds_bytes)
    }

    /// Returns whether another message needs the memory of the message that is being received. Then
    /// the session must close.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.charge.as_ref().is_some_and(MessageCharge::is_evicted)
    }

    /// Returns whether tungstenite has been given only whole messages. Then it holds no part of a
    /// message, and its stream can be replaced.
    #[must_use]
    pub fn is_boundary(&self) -> bool {
        self.frames.is_boundary()
    }

    /// Returns the memory that was reserved for the message just read, which is released when the
    /// value is dropped. `None` if the message had at most 64 KiB, for which no memory is reserved.
    pub fn take_charge(&mut self) -> Option<InboundCharge> {
        self.charge.as_mut().and_then(MessageCharge::finish)
    }

    /// Releases the memory that was reserved for the unfinished message, because the rest of it
    /// will not be read.
    pub fn give_up_message(&mut self) {
        // The charge is released immediately.
        drop(self.take_charge());
    }

    /// Returns whether the message that is being received waits for memory although no other
    /// unfinished message holds any of the budget.
    #[must_use]
    pub fn waits_alone(&self) -> bool {
        let charge = self.charge.as_ref();
        charge.is_some_and(MessageCharge::waits_alone)
    }

    /// Returns whether the message that is being received waits until the memory budget has room.
    #[must_use]
    pub fn waits_for_budget(&self) -> bool {
        self.charge.as_ref().is_some_and(MessageCharge::waits)
    }

    /// Reports how much payload was just handed to tungstenite, to the owner of the reserved
    /// memory. `old` is the total number of payload bytes before that.
    fn grow(&mut self, old: u64) {
        if let Some(charge) = &mut self.charge {
            charge.grow(self.read.payload - old);
        }
    }

    /// Returns the connection itself, for discarding the bytes that the client still sends while
    /// the session closes. Its reads bypass the frames and the budget. `None` in a placeholder.
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
        let starts_frame = this.frames.is_frame_start();
        if let Some(rate) = this.frame_rate.as_mut().filter(|_| starts_frame) {
            ready!(rate.poll_frame(cx));
        }
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
            if let Some(rate) = this.frame_rate.as_mut().filter(|_| starts_frame) {
                rate.count();
            }
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
        if let Some(rate) = this
            .frame_rate
            .as_mut()
            .filter(|_| starts_frame && !now.is_empty())
        {
            rate.count();
        }
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
