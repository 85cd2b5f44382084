//! The WebSocket of one session. One type reads and writes it. So reading never waits for a peer
//! that does not read, and nothing is sent after a close.

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
use crate::budget::inbound::InboundCharge;
use crate::budget::outbound::{self, Share};

/// The size of tungstenite's read buffer, in bytes. Each session has one from its start. A message
/// has a separate buffer.
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
    /// A ping or a pong.
    Alive,
    /// The peer closed the connection, with this code.
    Closed(Option<u16>),
    /// The connection is unusable; close with this code if there is one.
    Broken(Option<u16>),
}

/// The number of sent messages, and of their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SentMessages {
    /// The number of messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The WebSocket of one session.
pub struct Socket<T> {
    stream: WebSocketStream<Transport<T>>,
    config: WebSocketConfig,
    /// Whether a large message was received or sent. Then tungstenite's buffers must be released.
    has_large_buffers: bool,
    /// Whether a message was larger than tungstenite's first write buffer. Then the buffer is
    /// released when there is nothing to send.
    has_grown_write_buffer: bool,
    /// Answers that wait to be sent. They never wait behind output.
    answers: VecDeque<String>,
    answer_bytes: usize,
    /// Bytes of the message that was handed to the socket and is not sent yet.
    out_bytes: usize,
    /// The charge for queued and unsent bytes in the outbound budget.
    charge: Option<outbound::OutboundCharge>,
    /// Whether some bytes may not be flushed yet.
    is_unflushed: bool,
    /// Whether bytes wait for the peer to read.
    is_blocked: bool,
    /// The signs of life of the peer.
    liveness: Liveness,
    /// The sent messages that the session has not counted yet.
    pub sent: SentMessages,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Creates the WebSocket of an upgraded connection. `message_bytes`: the most bytes of a
    /// message of the peer. `budget`: the charge for a large message. `share`: the charge for
    /// unsent bytes.
    pub async fn new(
        io: T,
        message_bytes: usize,
        budget: Option<MessageCharge>,
        share: Option<&Arc<Share>>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            // The next message is handed over only after the previous one is written.
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let io = Transport::new(io, budget);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self {
            stream,
            config,
            has_large_buffers: false,
            has_grown_write_buffer: false,
            answers: VecDeque::new(),
            answer_bytes: 0,
            out_bytes: 0,
            charge: share.map(Share::charge),
            is_unflushed: false,
            is_blocked: false,
            liveness: Liveness::default(),
            sent: SentMessages::default(),
        }
    }

    /// Queues an answer.
    pub fn queue(&mut self, text: String) {
        self.answer_bytes += text.len();
        self.answers.push_back(text);
        self.update_charge();
    }

    /// Returns the bytes of answers that wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.answer_bytes
    }

    fn update_charge(&mut self) {
        let bytes = self.answer_bytes + self.out_bytes;
        if let Some(charge) = &mut self.charge {
            charge.set(bytes);
        }
    }

    /// Whether the unfinished message was evicted.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.stream.get_ref().is_evicted()
    }

    /// Notes that the session does not read now, although requests may have arrived.
    pub fn note_skipped_read(&mut self) {
        self.liveness.note_skipped_read();
    }

    /// Takes the inbound bytes of the message just read.
    pub fn take_charge(&mut self) -> Option<InboundCharge> {
        let charge = self.stream.get_mut().take_charge();
        if charge.is_some() {
            // The message is complete, so the time limits start again for the next one.
            self.liveness.note_complete();
        }
        charge
    }

    /// Polls for the next message of the peer.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let item = ready!(std::pin::Pin::new(&mut self.stream).poll_next(cx));
        self.liveness.note_received();
        // Reading may have queued a pong.
        self.is_unflushed = true;
        Poll::Ready(match item {
            Some(Ok(Message::Text(text))) => {
                self.has_large_buffers |= text.len() >= LARGE_BYTES;
                Received::Text(text)
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.has_large_buffers |= bytes.len() >= LARGE_BYTES;
                Received::Binary
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Received::Alive,
            Some(Ok(Message::Close(frame))) => Received::Closed(frame.map(|f| f.code.into())),
            Some(Err(error)) => Received::Broken(close_code(&error)),
            None => Received::Broken(None),
        })
    }

    /// Sends the queued answers. Ready when there is room for a message of a view.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let room = std::pin::Pin::new(&mut self.stream).poll_ready(cx);
            self.is_blocked = room.is_pending();
            ready!(room)?;
            if self.out_bytes > 0 {
                self.out_bytes = 0;
                self.update_charge();
            }
            let Some(text) = self.answers.pop_front() else {
                return Poll::Ready(Ok(()));
            };
            self.answer_bytes -= text.len();
            self.send(text)?;
        }
    }

    /// Sends one message; [`Self::poll_room`] must be ready.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, text: String) -> Result<(), Error> {
        self.sent.messages += 1;
        self.sent.bytes += text.len() as u64;
        self.out_bytes = text.len();
        self.update_charge();
        self.is_unflushed = true;
        self.has_large_buffers |= text.len() >= LARGE_BYTES;
        self.has_grown_write_buffer |= text.len() > WRITE_BYTES;
        std::pin::Pin::new(&mut self.stream).start_send(Message::text(text))
    }

    /// Flushes the written bytes. Pending while the peer does not read them.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.is_unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = std::pin::Pin::new(&mut self.stream).poll_flush(cx);
        self.is_blocked = flushed.is_pending();
        ready!(flushed)?;
        self.is_unflushed = false;
        if self.has_large_buffers && self.stream.get_ref().is_boundary() {
            self.rebuild();
            // The new stream has no waker registered.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Wraps the same connection in a new tungstenite stream, to release memory. The old stream has
    /// no buffered bytes, but would keep the buffer of a large message until the session ends.
    fn rebuild(&mut self) {
        (self.has_large_buffers, self.has_grown_write_buffer) = (false, false);
        let io = std::mem::replace(self.stream.get_mut(), Transport::empty());
        let new = WebSocketStream::from_raw_socket(io, Role::Server, Some(self.config));
        // The call awaits nothing, because there is no handshake.
        if let Some(stream) = new.now_or_never() {
            self.stream = stream;
        }
    }

    /// Ends a ping interval: returns the judgement of the peer, and pings a peer that is alive.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn pulse(&mut self) -> Result<Pulse, Error> {
        let transport = self.stream.get_ref();
        let pulse = self.liveness.end_interval(&Interval {
            is_blocked: self.is_blocked,
            written: transport.written(),
            read: transport.read_bytes(),
            holds_budget: transport.holds_budget(),
            waits_for_budget: transport.waits_for_budget(),
            waits_alone: transport.waits_alone(),
        });
        if pulse != Pulse::Alive {
            return Ok(pulse);
        }
        if !self.is_blocked {
            if self.has_grown_write_buffer
                && !self.is_unflushed
                && self.stream.get_ref().is_boundary()
            {
                self.rebuild();
            }
            self.is_unflushed = true;
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
