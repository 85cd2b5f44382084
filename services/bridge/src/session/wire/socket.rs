//! The WebSocket of one session. One type reads and writes it, so that reading never waits for a
//! peer that does not read, and nothing is ever sent after a close.

mod closing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{FutureExt, Sink, Stream};
use protocol::rpc::close;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::liveness::{Interval, Liveness, Pulse};
use super::message_charge::MessageCharge;
use super::transport::Transport;
use crate::budget::inbound::Charge;
use crate::budget::outbound::{self, Share};

/// The size of tungstenite's read buffer, in bytes; each session has one from its first moment. A
/// message has a buffer of its own size.
const READ_BYTES: usize = 1024;
/// Small messages are collected up to this many bytes before they are written.
const WRITE_BYTES: usize = 4 * 1024;
/// After a message of at least this many bytes tungstenite's buffers are released.
const LARGE_BYTES: usize = 64 * 1024;

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
    /// Whether a large message was received or sent: tungstenite's buffers are to be released.
    grown: bool,
    /// Whether more was sent at once than tungstenite's buffer has at first: the buffer is released
    /// when there is nothing to send.
    stretched: bool,
    /// Answers that wait to be sent. They never wait behind output.
    urgent: VecDeque<String>,
    urgent_bytes: usize,
    /// Bytes of the message that was handed to the socket and is not sent yet.
    out_bytes: usize,
    /// The charge for queued and unsent bytes in the outbound budget.
    charge: Option<outbound::Charge>,
    /// Whether there may be bytes to flush.
    unflushed: bool,
    /// Whether bytes wait for the peer to read.
    blocked: bool,
    /// The signs of life of the peer.
    liveness: Liveness,
    /// Messages and their bytes sent, until the session has counted them.
    pub sent: (u64, u64),
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Takes over an upgraded connection. `message_bytes`: the most bytes of a message of the peer.
    /// `budget`: the charge of a large message. `share`: the charge of bytes on their way out.
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
        self.update_charge();
    }

    /// Returns the bytes of answers that wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.urgent_bytes
    }

    fn update_charge(&mut self) {
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

    /// Notes that requests are not read for now, though there may be some.
    pub fn read_later(&mut self) {
        self.liveness.note_unread();
    }

    /// Takes the inbound bytes of the message just read.
    pub fn take_charge(&mut self) -> Option<Charge> {
        let charge = self.stream.get_mut().take_charge();
        if charge.is_some() {
            // The message is complete: the next one begins anew.
            self.liveness.note_complete();
        }
        charge
    }

    /// Polls for the next message of the peer.
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

    /// Sends queued answers. Ready when there is room for a message of a view.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let room = std::pin::Pin::new(&mut self.stream).poll_ready(cx);
            self.blocked = room.is_pending();
            ready!(room)?;
            if self.out_bytes > 0 {
                self.out_bytes = 0;
                self.update_charge();
            }
            let Some(text) = self.urgent.pop_front() else {
                return Poll::Ready(Ok(()));
            };
            self.urgent_bytes -= text.len();
            self.send(text)?;
        }
    }

    /// Sends one message; [`Self::poll_room`] must be ready.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, text: String) -> Result<(), Error> {
        self.sent.0 += 1;
        self.sent.1 += text.len() as u64;
        self.out_bytes = text.len();
        self.update_charge();
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
            // The new stream has no waker yet.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Wraps the same connection in a new tungstenite stream, to release memory. The old one has
    /// nothing buffered, but would keep the buffer of a large message until the session ends.
    fn rebuild(&mut self) {
        (self.grown, self.stretched) = (false, false);
        let io = std::mem::replace(self.stream.get_mut(), Transport::empty());
        let new = WebSocketStream::from_raw_socket(io, Role::Server, Some(self.config));
        // The call awaits nothing, because there is no handshake.
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
}

/// Returns the close code for a peer that broke the protocol (RFC 6455, section 7.4.1).
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
