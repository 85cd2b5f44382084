//! The WebSocket of one session. One type both reads and writes it, so reading never waits for a
//! peer that does not read, and nothing is sent after a close.

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

/// The size of tungstenite's read buffer, in bytes. Each session has one from its start, so it is
/// small. A message has a separate buffer.
const READ_BYTES: usize = 1024;
/// How many bytes of small messages are collected before they are written to the connection.
const WRITE_BYTES: usize = 4 * 1024;
/// The length of a message from which tungstenite's buffers are released after it, in bytes.
const LARGE_BYTES: usize = 64 * 1024;

/// An event from the peer of a session.
#[derive(Debug)]
pub enum Received {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message, which the session answers with an error.
    Binary,
    /// A ping or a pong, which needs no action: tungstenite answers pings.
    Alive,
    /// The peer closed the connection, with this code if it gave one.
    Closed(Option<u16>),
    /// The connection cannot be used any more. With a code, the peer broke the protocol, and the
    /// session closes with it.
    Broken(Option<u16>),
}

/// How many messages a session has sent, and their length.
#[derive(Debug, Clone, Copy, Default)]
pub struct SentMessages {
    /// The number of messages.
    pub messages: u64,
    /// The bytes of their texts.
    pub bytes: u64,
}

/// The WebSocket of one session: reads messages, and sends answers and the messages of views.
pub struct Socket<T> {
    stream: WebSocketStream<Transport<T>>,
    config: WebSocketConfig,
    /// Whether a large message was received or sent, so that tungstenite's buffers must be
    /// released.
    has_large_buffers: bool,
    /// Whether a message was larger than tungstenite's first write buffer. The grown buffer is
    /// released when there is nothing to send.
    has_grown_write_buffer: bool,
    /// Answers that wait to be sent. They are sent before any message of a view.
    answers: VecDeque<String>,
    answer_bytes: usize,
    /// The length of the message that tungstenite has, but has not sent completely.
    out_bytes: usize,
    /// The charge for the answers and the message that are not sent, in the outbound budget. `None`
    /// for a session that is being refused.
    charge: Option<outbound::OutboundCharge>,
    /// Whether tungstenite may hold bytes that are not written to the connection.
    is_unflushed: bool,
    /// Whether bytes wait because the peer does not read.
    is_blocked: bool,
    /// The signs of life of the peer, judged at each ping.
    liveness: Liveness,
    /// The sent messages that the session has not counted yet.
    pub sent: SentMessages,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Creates the WebSocket on a connection whose handshake is done. `message_bytes`: the most
    /// bytes of a message of the peer. `budget`: charges large messages of the peer; `share`:
    /// charges messages to the peer. `None` charges nothing.
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

    /// Queues an answer. It is sent before any message of a view, when the peer reads.
    pub fn queue(&mut self, text: String) {
        self.answer_bytes += text.len();
        self.answers.push_back(text);
        self.update_charge();
    }

    /// Returns the bytes of queued answers that are not sent yet.
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

    /// Whether the memory of the message that is being received is needed for another one. Then the
    /// session must close with 1013.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.stream.get_ref().is_evicted()
    }

    /// Records that the session does not read now, so the peer is not judged by its silence.
    pub fn note_skipped_read(&mut self) {
        self.liveness.note_skipped_read();
    }

    /// Returns the inbound charge of the message just read; `None` if it had at most 64 KiB.
    pub fn take_charge(&mut self) -> Option<InboundCharge> {
        let charge = self.stream.get_mut().take_charge();
        if charge.is_some() {
            // The message is complete, so the time limits start again for the next one.
            self.liveness.note_complete();
        }
        charge
    }

    /// Polls for the next message or other event of the peer.
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

    /// Sends the queued answers. Ready when all of them are sent and a message of a view may
    /// follow. Pending while the peer does not read.
    ///
    /// # Errors
    /// The connection is broken.
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

    /// Sends one message of a view. Only after [`Self::poll_room`] was ready.
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

    /// Writes all bytes that tungstenite has collected. Pending while the peer does not read them.
    ///
    /// # Errors
    /// The connection is broken.
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

    /// Ends a ping interval: returns the judgement of the peer, and sends a ping to a peer that is
    /// alive.
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

/// Returns the close code for a peer that broke the WebSocket protocol (RFC 6455, section 7.4.1).
/// `None` for a broken connection, on which no code can be sent.
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
