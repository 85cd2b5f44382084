//! The WebSocket of one session: one place that reads and writes it, so that reading never waits
//! for a peer that does not read, and nothing is ever sent after a close.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{FutureExt, Sink, Stream};
use protocol::rpc::close;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::liveness::{Interval, Liveness, Pulse};
use super::message_charge::MessageCharge;
use super::transport::Transport;
use crate::budget::inbound::Charge;
use crate::budget::outbound::{self, Share};

/// What tungstenite reads at once, in bytes; each session has this much from its first moment. A
/// message has a buffer of its own size.
const READ_BYTES: usize = 1024;
/// What is collected before it is written, in bytes.
const WRITE_BYTES: usize = 4 * 1024;
/// A message from which on tungstenite's buffers are given back after it.
const LARGE_BYTES: usize = 64 * 1024;
/// How long a close may take to get out; a peer that does not read blocks it for ever.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// After our close the peer has this long to answer; after 1009 so long is read on, so that it sees
/// it.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Closes after which nothing that still comes can be told apart: what is no WebSocket, what is no
/// UTF-8, what is too big or found no room.
const UNREADABLE: [u16; 4] = [1002, 1007, close::TOO_BIG, close::TRY_AGAIN_LATER];

/// An item that the socket received.
#[derive(Debug)]
pub enum Received {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary,
    /// A ping, a pong: a sign of life.
    Alive,
    /// The peer closed, with this code.
    Closed(Option<u16>),
    /// The connection is unusable; close with this code if there is one.
    Broken(Option<u16>),
}

/// The WebSocket of one session.
pub struct Socket<T> {
    stream: WebSocketStream<Transport<T>>,
    config: WebSocketConfig,
    /// A large message came or went: tungstenite's buffers are to be given back.
    grown: bool,
    /// More was sent at once than its buffer has at first: it is given back when nothing is to be
    /// sent.
    stretched: bool,
    /// Answers; they never wait behind output.
    urgent: VecDeque<String>,
    urgent_bytes: usize,
    /// Bytes of the message that was handed to the socket and is not sent yet.
    out_bytes: usize,
    /// The charge for queued and unsent bytes in the outbound budget.
    charge: Option<outbound::Charge>,
    unflushed: bool,
    blocked: bool,
    /// How the last ping intervals went.
    liveness: Liveness,
    /// Messages and their bytes sent, until the session has counted them.
    pub sent: (u64, u64),
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Takes over an upgraded connection. `message_bytes`: the largest message taken. `budget`:
    /// what large ones may hold. `share`: what is on its way out counts there.
    pub async fn new(
        io: T,
        message_bytes: usize,
        budget: Option<MessageCharge>,
        share: Option<&Arc<Share>>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            // One message is handed over at a time, and the next only when it is out.
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let io = Transport::new(io, budget);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self {
            stream,
            config,
            grown: false,
            stretched: false,
            urgent: VecDeque::new(),
            urgent_bytes: 0,
            out_bytes: 0,
            charge: share.map(Share::charge),
            unflushed: false,
            blocked: false,
            liveness: Liveness::default(),
            sent: (0, 0),
        }
    }

    /// Queues an answer.
    pub fn queue(&mut self, text: String) {
        self.urgent_bytes += text.len();
        self.urgent.push_back(text);
        self.count();
    }

    /// Bytes of answers that wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.urgent_bytes
    }

    fn count(&mut self) {
        let bytes = self.urgent_bytes + self.out_bytes;
        if let Some(charge) = &mut self.charge {
            charge.set(bytes);
        }
    }

    /// Whether the unfinished message was evicted.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.stream.get_ref().is_evicted()
    }

    /// Requests are not read for now, though there may be some.
    pub fn read_later(&mut self) {
        self.liveness.note_unread();
    }

    /// What the message just read has taken of the inbound budget.
    pub fn take_charge(&mut self) -> Option<Charge> {
        let charge = self.stream.get_mut().take_charge();
        if charge.is_some() {
            // It is whole: the next one begins anew.
            self.liveness.note_complete();
        }
        charge
    }

    /// The next message in.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let item = ready!(std::pin::Pin::new(&mut self.stream).poll_next(cx));
        self.liveness.note_heard();
        // Reading may have queued a pong.
        self.unflushed = true;
        Poll::Ready(match item {
            Some(Ok(Message::Text(text))) => {
                self.grown |= text.len() >= LARGE_BYTES;
                Received::Text(text)
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.grown |= bytes.len() >= LARGE_BYTES;
                Received::Binary
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Received::Alive,
            Some(Ok(Message::Close(frame))) => Received::Closed(frame.map(|f| f.code.into())),
            Some(Err(error)) => Received::Broken(close_code(&error)),
            None => Received::Broken(None),
        })
    }

    /// Sends what is queued; ready when there is room for a message that is not an answer.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let room = std::pin::Pin::new(&mut self.stream).poll_ready(cx);
            self.blocked = room.is_pending();
            ready!(room)?;
            if self.out_bytes > 0 {
                self.out_bytes = 0;
                self.count();
            }
            let Some(text) = self.urgent.pop_front() else {
                return Poll::Ready(Ok(()));
            };
            self.urgent_bytes -= text.len();
            self.send(text)?;
        }
    }

    /// Hands over one message; there must be room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, text: String) -> Result<(), Error> {
        self.sent.0 += 1;
        self.sent.1 += text.len() as u64;
        self.out_bytes = text.len();
        self.count();
        self.unflushed = true;
        self.grown |= text.len() >= LARGE_BYTES;
        self.stretched |= text.len() > WRITE_BYTES;
        std::pin::Pin::new(&mut self.stream).start_send(Message::text(text))
    }

    /// Flushes; pending while there is something to flush and no room.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = std::pin::Pin::new(&mut self.stream).poll_flush(cx);
        self.blocked = flushed.is_pending();
        ready!(flushed)?;
        self.unflushed = false;
        if self.grown && self.stream.get_ref().is_boundary() {
            self.rebuild();
            // The new one knows no waker yet.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// A new tungstenite around the same connection; nothing is buffered in the old one. It would
    /// keep what a large message needed until the session ends.
    fn rebuild(&mut self) {
        (self.grown, self.stretched) = (false, false);
        let io = std::mem::replace(self.stream.get_mut(), Transport::empty());
        let new = WebSocketStream::from_raw_socket(io, Role::Server, Some(self.config));
        // It awaits nothing: there is no handshake.
        if let Some(stream) = new.now_or_never() {
            self.stream = stream;
        }
    }

    /// Ends a ping interval: returns how the peer is, and pings it if it is alive.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn pulse(&mut self) -> Result<Pulse, Error> {
        let transport = self.stream.get_ref();
        let pulse = self.liveness.end_interval(&Interval {
            is_blocked: self.blocked,
            written: transport.written(),
            read: transport.read_bytes(),
            holds_budget: transport.holds_budget(),
            waits_for_budget: transport.waits_for_budget(),
            waits_for_nobody: transport.waits_for_nobody(),
        });
        if pulse != Pulse::Alive {
            return Ok(pulse);
        }
        if !self.blocked {
            if self.stretched && !self.unflushed && self.stream.get_ref().is_boundary() {
                self.rebuild();
            }
            self.unflushed = true;
            std::pin::Pin::new(&mut self.stream).start_send(Message::Ping(Default::default()))?;
        }
        Ok(Pulse::Alive)
    }

    /// Sends what is queued and closes with this code, all within a time limit; then waits a moment
    /// for the peer's own close.
    pub async fn close(mut self, code: u16, reason: &str) {
        let end = Instant::now() + CLOSE_TIME;
        if UNREADABLE.contains(&code) {
            // The message will never be complete: release its bytes before waiting for the peer.
            self.stream.get_mut().give_up_message();
            if !self.unflushed && !self.blocked {
                self.rebuild();
            }
        }
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.to_owned().into(),
        };
        let sent = async {
            std::future::poll_fn(|cx| self.poll_room(cx)).await?;
            self.stream.close(Some(frame)).await
        };
        if !matches!(timeout_at(end, sent).await, Ok(Ok(()))) {
            return;
        }
        let linger = Instant::now() + LINGER_TIME;
        if UNREADABLE.contains(&code) {
            // The rest is read past tungstenite, which is done with this peer: closing with unread
            // bytes would reset the connection, and the peer would not see the code.
            let mut rest = vec![0; 16 * 1024];
            if let Some(raw) = self.stream.get_mut().raw() {
                while let Ok(Ok(1..)) = timeout_at(linger, raw.read(&mut rest)).await {}
            }
            return;
        }
        let answer = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.stream).poll_next(cx));
        let mut answer = answer;
        while let Ok(Some(Ok(_))) = timeout_at(linger, &mut answer).await {}
    }

    /// Answers the peer's close; tungstenite has queued the frame.
    pub async fn finish(mut self) {
        let end = Instant::now() + LINGER_TIME;
        let flush = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.stream).poll_flush(cx));
        // Gone already is as good.
        let _ = timeout_at(end, flush).await;
    }
}

/// What a peer that broke the protocol is told (RFC 6455, section 7.4.1).
fn close_code(error: &Error) -> Option<u16> {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Capacity(_) => Some(close::TOO_BIG),
        Error::Utf8(_) => Some(1007),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(1002),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
