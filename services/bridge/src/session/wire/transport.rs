//! The byte stream under a WebSocket. It counts what the peer took, and it never hands over bytes of two
//! frames in one read: so after a message tungstenite's buffer is known to be empty, and one that grew for a
//! large message can be given back (DESIGN.md, "bridge"). Of a large message nothing is read before the inbound
//! budget has room for all of it.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::room::{Charge, Making, Room};

/// What is read ahead, in bytes: enough for several small requests at once.
const AHEAD_BYTES: usize = 1024;

/// The least time between two attempts to evict another message.
const LEAST_PATIENCE: Duration = Duration::from_millis(10);

/// Messages up to this many bytes are always read: a sign of life, a cancel, a common prompt.
pub const FREE_BYTES: u64 = 64 * 1024;

/// The inbound budget's charge for the message that one session is receiving.
#[derive(Debug)]
pub struct Inbound {
    room: Arc<Room>,
    /// The most that one message may come to.
    message: u64,
    /// Payload bytes of the unfinished message that were handed over.
    bytes: u64,
    making: Option<Making>,
    /// While the message cannot grow: the end of the patience, and how often it has passed.
    wait: Option<(Pin<Box<Sleep>>, u32)>,
}

impl Inbound {
    /// `message`: the largest message taken, in bytes.
    #[must_use]
    pub fn new(room: Arc<Room>, message: u64) -> Self {
        Self {
            room,
            message,
            bytes: 0,
            making: None,
            wait: None,
        }
    }

    /// Polls for the number of payload bytes that may be read.
    fn poll_room(&mut self, frames: &Frames, cx: &mut Context<'_>) -> Poll<u64> {
        if frames.is_control || frames.payload == 0 {
            return Poll::Ready(u64::MAX);
        }
        if self.bytes < FREE_BYTES && self.making.is_none() {
            return Poll::Ready(FREE_BYTES - self.bytes);
        }
        // A message in fragments may have any length.
        let rest = if frames.ends {
            frames.payload
        } else {
            self.message
        };
        let most = self.bytes.saturating_add(rest).min(self.message);
        let (room, bytes) = (&self.room, self.bytes);
        let making = self
            .making
            .get_or_insert_with(|| Making::new(room.clone(), most));
        if making.allowed() <= bytes {
            let next = (bytes + 1).next_power_of_two().max(2 * FREE_BYTES);
            if making
                .poll_grow(next.min(most.max(bytes + 1)), cx)
                .is_pending()
            {
                let patience = room.patience();
                let begin = || (Box::pin(sleep(patience)), 0);
                let (wait, times) = self.wait.get_or_insert_with(begin);
                while wait.as_mut().poll(cx).is_ready() {
                    *times += 1;
                    making.press(*times);
                    wait.as_mut()
                        .reset(Instant::now() + patience.max(LEAST_PATIENCE));
                }
                return Poll::Pending;
            }
            self.wait = None;
        }
        Poll::Ready(making.allowed() - bytes)
    }

    /// Ends the charge of a complete message.
    fn finish(&mut self) -> Option<Charge> {
        let bytes = std::mem::take(&mut self.bytes);
        self.wait = None;
        self.making.take().map(|making| making.finish(bytes))
    }
}

/// Where in a frame the reader is (RFC 6455, section 5.2).
#[derive(Debug, Default)]
struct Frames {
    head: [u8; 14],
    /// Bytes of the head handed over.
    have: usize,
    /// Bytes of the payload still to come.
    payload: u64,
    is_control: bool,
    /// The frame is the last of its message.
    ends: bool,
    /// The frame is not the first of its message.
    goes_on: bool,
    /// More frames of a message are to come.
    in_message: bool,
}

impl Frames {
    fn is_boundary(&self) -> bool {
        self.have == 0 && self.payload == 0 && !self.in_message
    }

    /// The head's length, as far as its bytes tell.
    fn head_bytes(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let length = match self.head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    /// How many bytes may be handed over at once.
    fn most(&self) -> usize {
        if self.payload > 0 {
            usize::try_from(self.payload).unwrap_or(usize::MAX)
        } else {
            self.head_bytes() - self.have
        }
    }

    /// These bytes, at most [`Self::most`], were handed over; `read` counts them.
    fn pass(&mut self, bytes: &[u8], read: &mut (u64, u64)) {
        read.0 += bytes.len() as u64;
        if self.payload > 0 {
            if !self.is_control {
                read.1 += bytes.len() as u64;
            }
            self.payload -= bytes.len() as u64;
            return;
        }
        self.head[self.have..self.have + bytes.len()].copy_from_slice(bytes);
        self.have += bytes.len();
        if self.have < self.head_bytes() {
            return;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        self.payload = match self.head[1] & 0x7F {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => u64::from(short),
        };
        let opcode = self.head[0] & 0x0F;
        self.is_control = opcode >= 8;
        self.ends = self.head[0] & 0x80 != 0;
        self.goes_on = opcode == 0;
        if !self.is_control {
            self.in_message = !self.ends;
        }
        self.have = 0;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Transport<T> {
    /// None in what [`Self::empty`] leaves behind.
    inner: Option<T>,
    inbound: Option<Inbound>,
    written: u64,
    /// Bytes handed over, and those of them that are payload of messages.
    read: (u64, u64),
    frames: Frames,
    /// What was read and not handed over, from `start` on; an idle session holds no buffer.
    ahead: Vec<u8>,
    start: usize,
}

impl<T> Transport<T> {
    /// Nothing was written yet. Without `inbound` there is no budget.
    pub fn new(inner: T, inbound: Option<Inbound>) -> Self {
        Self {
            inner: Some(inner),
            inbound,
            written: 0,
            read: (0, 0),
            frames: Frames::default(),
            ahead: Vec::new(),
            start: 0,
        }
    }

    /// One without a stream: it stands where another was taken from, and every use is an error.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            inner: None,
            inbound: None,
            written: 0,
            read: (0, 0),
            frames: Frames::default(),
            ahead: Vec::new(),
            start: 0,
        }
    }

    /// Bytes that the kernel took so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes handed over so far, and those of them that are payload of messages.
    #[must_use]
    pub fn read_bytes(&self) -> (u64, u64) {
        self.read
    }

    /// Whether a message in the making holds a part of the budget.
    #[must_use]
    pub fn holds_room(&self) -> bool {
        let making = self.inbound.as_ref().and_then(|i| i.making.as_ref());
        making.is_some_and(|making| making.allowed() > 0)
    }

    /// Whether the unfinished message was evicted.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        let making = self.inbound.as_ref().and_then(|i| i.making.as_ref());
        making.is_some_and(Making::is_evicted)
    }

    /// Whether all that was handed over are whole messages: whoever reads holds no part of one.
    #[must_use]
    pub fn is_boundary(&self) -> bool {
        self.frames.is_boundary()
    }

    /// What the message that was read has taken of the budget.
    pub fn take_charge(&mut self) -> Option<Charge> {
        self.inbound.as_mut().and_then(Inbound::finish)
    }

    /// Gives up the unfinished message: nothing more of it is read.
    pub fn give_up_message(&mut self) {
        if let Some(inbound) = &mut self.inbound {
            // The charge is released at once.
            drop(inbound.finish());
        }
    }

    /// Whether a message waits for room that no other unfinished message holds.
    #[must_use]
    pub fn waits_for_nobody(&self) -> bool {
        let inbound = self.inbound.as_ref().filter(|i| i.wait.is_some());
        let making = inbound.and_then(|i| i.making.as_ref());
        making.is_some_and(|making| !making.has_others())
    }

    /// Whether a large message waits for room in the budget.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.inbound
            .as_ref()
            .is_some_and(|inbound| inbound.wait.is_some())
    }

    /// Notes that payload was handed over; `before`: the payload bytes handed over until then.
    fn grown(&mut self, before: u64) {
        if let Some(inbound) = &mut self.inbound {
            let steps = |bytes: u64| bytes / FREE_BYTES;
            let old = inbound.bytes;
            inbound.bytes += self.read.1 - before;
            if let Some(making) = &inbound.making
                && steps(old) != steps(inbound.bytes)
            {
                making.moved(inbound.bytes);
            }
        }
    }

    /// The stream below, past the frames.
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
        let allowed = match &mut this.inbound {
            Some(inbound) => ready!(inbound.poll_room(&this.frames, cx)),
            None => u64::MAX,
        };
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        let most = this.frames.most().min(buf.remaining()).min(allowed);
        let payload = this.read.1;
        if this.start < this.ahead.len() {
            let end = this.ahead.len().min(this.start + most);
            let bytes = &this.ahead[this.start..end];
            buf.put_slice(bytes);
            this.frames.pass(bytes, &mut this.read);
            this.grown(payload);
            this.start = end;
            if this.start == this.ahead.len() {
                (this.ahead, this.start) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        if most >= AHEAD_BYTES {
            // A large payload goes straight to where it belongs.
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut *inner).poll_read(cx, &mut part))?;
            this.frames.pass(part.filled(), &mut this.read);
            let count = part.filled().len();
            this.grown(payload);
            buf.advance(count);
            return Poll::Ready(Ok(()));
        }
        let mut space = [MaybeUninit::uninit(); AHEAD_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *inner).poll_read(cx, &mut read))?;
        let (now, later) = read.filled().split_at(read.filled().len().min(most));
        buf.put_slice(now);
        this.frames.pass(now, &mut this.read);
        this.grown(payload);
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
