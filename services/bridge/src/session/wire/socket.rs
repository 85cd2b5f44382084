//! The WebSocket connection of one session. One type both reads and writes it, so a client that
//! does not read cannot block the reading side. Nothing can be sent after a close frame.

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

use super::frame_rate::FrameRate;
use super::liveness::{Interval, Liveness, Pulse};
use super::message_charge::MessageCharge;
use super::transport::Transport;
use crate::budget::inbound::InboundCharge;
use crate::budget::outbound::{self, Share};

/// The size of tungstenite's read buffer, in bytes. Every session has this buffer from its start,
/// so it is small. A long message gets a separate buffer while it is received.
const READ_BYTES: usize = 1024;
/// How many bytes of small messages tungstenite collects before it writes them to the connection.
/// Collecting them saves system calls.
const WRITE_BYTES: usize = 4 * 1024;
/// The length of a message, in bytes, from which tungstenite's buffers are released after it. They
/// would otherwise stay grown until the session ends.
const LARGE_BYTES: usize = 64 * 1024;

/// An event on the receiving side of a session's WebSocket.
#[derive(Debug)]
pub enum Received {
    /// The client sent a text message, which is complete and valid UTF-8.
    Text(Utf8Bytes),
    /// The client sent a binary message. The session answers it with an error, because JSON-RPC is
    /// sent as text.
    Binary,
    /// The client sent a ping or a pong. The session need not act, because tungstenite answers
    /// pings.
    Alive,
    /// The client sent a close frame, with this close code. `None` if the frame has no code.
    Closed(Option<u16>),
    /// The connection cannot be used any more. With a code, the client violated the WebSocket
    /// protocol or a limit, and the session closes with that code. `None` if the connection itself
    /// failed.
    Broken(Option<u16>),
}

/// The number and the length of the messages that a session has sent to its client.
#[derive(Debug, Clone, Copy, Default)]
pub struct SentMessages {
    /// The number of messages.
    pub messages: u64,
    /// The bytes of their JSON texts, without the WebSocket frame headers.
    pub bytes: u64,
}

/// The WebSocket connection of one session. It reads the client's messages, and sends answers and
/// the messages of views. Answers are sent first, so that output never delays them.
pub struct Socket<T> {
    stream: WebSocketStream<Transport<T>>,
    config: WebSocketConfig,
    /// Whether a message of at least 64 KiB was received or sent, so that tungstenite's grown
    /// buffers must be released.
    has_large_buffers: bool,
    /// Whether a sent message was longer than tungstenite's first write buffer (4 KiB). The grown
    /// buffer is released at a ping when no bytes wait to be sent.
    has_grown_write_buffer: bool,
    /// Answers that wait to be sent. They are all sent before the next message of a view.
    answers: VecDeque<String>,
    answer_bytes: usize,
    /// The length in bytes of the message that tungstenite has accepted but not written completely.
    out_bytes: usize,
    /// The memory charge for the waiting answers and the unwritten message, in the budget for
    /// outgoing messages. `None` for a client that is being refused, which gets a single short
    /// answer.
    charge: Option<outbound::OutboundCharge>,
    /// Whether tungstenite may hold bytes that are not written to the connection yet.
    is_unflushed: bool,
    /// Whether bytes wait because the client does not read and the kernel accepts no more.
    is_blocked: bool,
    /// The client's signs of life, which are judged at each ping.
    liveness: Liveness,
    /// The messages sent since the session last took this value to count them.
    pub sent: SentMessages,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// Creates the WebSocket on a connection whose handshake is done. A longer message than
    /// `message_bytes` from the client breaks the session (close code 1009, message too big).
    ///
    /// `budget` reserves memory for large messages from the client before they are read. `share`
    /// counts the memory of messages that the client has not read. `None` turns the respective
    /// limit off.
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

    /// Limits the frames that are read in a second. Beyond it, reading waits.
    pub fn limit_frames(&mut self, rate: FrameRate) {
        self.stream.get_mut().limit_frames(rate);
    }

    /// Returns how often the reading began to wait for the limit of frames since the last call.
    pub fn take_frame_waits(&mut self) -> u32 {
        self.stream.get_mut().take_frame_waits()
    }

    /// Queues an answer for sending. It is sent before any message of a view, as soon as the client
    /// reads.
    pub fn queue(&mut self, text: String) {
        self.answer_bytes += text.len();
        self.answers.push_back(text);
        self.update_charge();
    }

    /// Returns the bytes of the queued answers. The message that is being written does not count.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.answer_bytes
    }

    /// Counts the current bytes of unsent messages in the budget for outgoing messages.
    fn update_charge(&mut self) {
        let bytes = self.answer_bytes + self.out_bytes;
        if let Some(charge) = &mut self.charge {
            charge.set(bytes);
        }
    }

    /// Returns whether another message needs the memory of the message that is being received. Then
    /// the session must close with 1013 (try again later).
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.stream.get_ref().is_evicted()
    }

    /// Records that the session chose not to read for now. A ping interval with such a pause does
    /// not count as silence of the client.
    pub fn note_skipped_read(&mut self) {
        self.liveness.note_skipped_read();
    }

    /// Returns the memory that was reserved for the message just read, which is released when the
    /// value is dropped. `None` if the message had at most 64 KiB, for which no memory is reserved.
    pub fn take_charge(&mut self) -> Option<InboundCharge> {
        let charge = self.stream.get_mut().take_charge();
        if charge.is_some() {
            // The message is complete, so the time limits start again for the next one.
            self.liveness.note_complete();
        }
        charge
    }

    /// Polls for the next event of the client, such as a message. Also answers pings. `Pending`
    /// while the client sends nothing, or while its message waits for memory.
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

    /// Sends the queued answers. Ready when tungstenite has all of them and a message of a view may
    /// follow. `Pending` while the client does not read.
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

    /// Sends one message to the client. The caller must first wait until [`Self::poll_room`] is
    /// ready, so that at most one message is buffered.
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

    /// Writes all bytes that tungstenite has collected to the connection. `Pending` while the
    /// client does not read them. Then releases buffers that a large message has enlarged.
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

    /// Wraps the same connection in a new tungstenite stream, to release memory. The old stream
    /// would keep the buffer of a large message until the session ends. Only allowed when the old
    /// stream holds no bytes.
    fn rebuild(&mut self) {
        (self.has_large_buffers, self.has_grown_write_buffer) = (false, false);
        let io = std::mem::replace(self.stream.get_mut(), Transport::empty());
        let new = WebSocketStream::from_raw_socket(io, Role::Server, Some(self.config));
        // The call awaits nothing, because there is no handshake.
        if let Some(stream) = new.now_or_never() {
            self.stream = stream;
        }
    }

    /// Ends a ping interval, and judges whether the client is alive. Sends the next ping to a
    /// client that is alive, unless bytes already wait for it. For any other result the caller must
    /// end the session.
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

/// Returns the close code for a client that violated the WebSocket protocol or a limit (RFC 6455,
/// section 7.4.1). The codes are 1002 (protocol error), 1007 (invalid payload data) and 1009
/// (message too big). `None` for a broken connection, on which no close frame can be sent.
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
