//! A WebSocket connection that the bridge has greeted, with pings that detect a lost connection.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use protocol::message::{Connected, ServerMessage};
use protocol::rpc::close;
use protocol::{Limits, Secret};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::connection::{
    Connection, ConnectionOptions, ConnectionReader, ConnectionWriter, Frame, ReadError,
};
use crate::refusal::Peer;
use crate::{Address, Error, Options};

/// The maximum time to write one message to the bridge. It is longer than two ping intervals,
/// because the largest message has 13 MiB and may take long on a slow line.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum time to wait for the bridge's close frame when the client closes the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A WebSocket connection that is ready for requests, because the bridge's greeting `connected` was
/// read.
///
/// It sends pings, and reports the connection as lost if the bridge is silent for two ping
/// intervals. A separate task writes, so that reading continues while a write waits for the bridge.
pub(crate) struct LiveConnection {
    pub(crate) connected: Arc<Connected>,
    /// The greeting of the bridge as JSON text, with members that this crate does not know.
    pub(crate) greeting: Utf8Bytes,
    peer: Peer,
    reader: ConnectionReader,
    outbound: mpsc::UnboundedSender<Message>,
    writer: JoinHandle<()>,
    ticks: Interval,
    /// The time without any received frame after which the connection counts as lost, two ping
    /// intervals.
    dead_after: Duration,
    last_frame_at: Instant,
}

/// The reaction of a client to the loss of its connection. The texts are the cause, for people.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Reconnect, because a new connection may succeed.
    Retry(String),
    /// Fail the request that is larger than the bridge accepts, then reconnect and repeat the
    /// others. The bridge closed the connection with 1009 (message too big).
    TooBig(String),
    /// Fail all requests and runs with this error, because a new connection would have the same
    /// problem.
    Final(Error),
}

impl LiveConnection {
    /// Connects to the bridge and reads its greeting, both within [`Options::connect_timeout`].
    /// Returns an error if no bridge answers in time, the bridge refuses, or its protocol has
    /// another version.
    pub(crate) async fn connect(address: &Address, options: &Options) -> Result<Self, Error> {
        let limit = options.connect_timeout;
        match timeout(limit, Self::connect_and_greet(address, options)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unreachable {
                url: address.to_string(),
                reason: format!("no `connected` within {} s", limit.as_secs_f32()),
            }),
        }
    }

    async fn connect_and_greet(address: &Address, options: &Options) -> Result<Self, Error> {
        let peer = Peer {
            url: address.to_string(),
            token_sent: options.token.is_some(),
        };
        let connection_options = ConnectionOptions {
            headers: options.token.iter().filter_map(authorization).collect(),
            roots: options.roots.clone(),
            ..ConnectionOptions::default()
        };
        let connection = Connection::connect(address, &connection_options).await;
        let mut connection = connection.map_err(|e| peer.connect_error(e))?;
        let (connected, greeting) = greet(&mut connection, &peer).await?;
        if connected.protocol != protocol::PROTOCOL_VERSION {
            return Err(Error::Protocol(format!(
                "its version is {} and this client's is {}; use the client of the bridge's version",
                connected.protocol,
                protocol::PROTOCOL_VERSION
            )));
        }
        let (writer, reader) = connection.split();
        let (outbound, queue) = mpsc::unbounded_channel();
        let mut ticks = interval_at(Instant::now() + options.ping, options.ping);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            connected,
            greeting,
            peer,
            reader,
            outbound,
            writer: tokio::spawn(write(writer, queue)),
            ticks,
            dead_after: options.ping * 2,
            last_frame_at: Instant::now(),
        })
    }

    /// Returns the maximum size of a message that this bridge accepts, in bytes.
    pub(crate) fn message_bytes(&self) -> usize {
        message_bytes(&self.connected)
    }

    /// Queues the JSON text of a request for the writer task, and returns without waiting for it to
    /// be sent. If the connection is lost, [`Self::next`] returns an error.
    pub(crate) fn send(&self, text: String) {
        let _ = self.outbound.send(Message::text(text));
    }

    /// Waits for the next message of the bridge, and sends a ping in each interval meanwhile.
    /// Returns an error when the connection is lost or the bridge is silent for too long.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            let frame = tokio::select! {
                // Received frames first, so that they reset the silence before the clock is read.
                biased;
                frame = self.reader.next() => frame,
                _ = &mut self.writer => return Err(Lost::Retry("the connection broke".to_owned())),
                _ = self.ticks.tick() => {
                    let silence = self.last_frame_at.elapsed();
                    if silence >= self.dead_after {
                        let seconds = silence.as_secs_f32();
                        let reason = format!("the bridge was silent for {seconds} s");
                        return Err(Lost::Retry(reason));
                    }
                    let _ = self.outbound.send(Message::Ping(Vec::new().into()));
                    continue;
                }
            };
            self.last_frame_at = Instant::now();
            match frame {
                Ok(Frame::Text(text)) => return Ok(text),
                Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_)) => {}
                Err(error) => return Err(lost(&error, &self.peer)),
            }
        }
    }

    /// Sends the queued messages and a close frame, and waits at most one second for the bridge's
    /// close frame. Failures are ignored, because the connection is no longer needed.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame {
            code: close::NORMAL.into(),
            reason: Utf8Bytes::default(),
        };
        let _ = self.outbound.send(Message::Close(Some(frame)));
        let _ = timeout(CLOSE_TIMEOUT, async {
            // The bridge ends the connection after its close frame.
            while !matches!(
                self.reader.next().await,
                Err(ReadError::Ended | ReadError::FrameAfterClose | ReadError::Broken(_))
            ) {}
        })
        .await;
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Returns the maximum size of a message that a bridge accepts, in bytes, from the limit
/// `messageBytes` in its greeting. Without limits in the greeting, this is the default limit.
pub(crate) fn message_bytes(connected: &Connected) -> usize {
    let limits = connected.limits.as_ref();
    let bytes = limits.map_or_else(
        || Limits::default().message_bytes,
        |limits| limits.limits.message_bytes,
    );
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Writes queued messages to the bridge. Returns when the queue is closed, a write fails, or one
/// message takes longer than [`SEND_TIMEOUT`].
async fn write(mut writer: ConnectionWriter, mut queue: mpsc::UnboundedReceiver<Message>) {
    while let Some(message) = queue.recv().await {
        match timeout(SEND_TIMEOUT, writer.send_frame(message)).await {
            Ok(Ok(())) => {}
            // The reader detects a lost connection by itself. After a close frame it still waits
            // for the bridge's close frame.
            _ => return,
        }
    }
}

/// Returns the header that carries this token. It is marked as sensitive, so that it is not in the
/// debug output of a request.
fn authorization(token: &Secret) -> Option<(HeaderName, HeaderValue)> {
    // A secret has only characters that a header may have.
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some((AUTHORIZATION, value))
}

/// Reads the bridge's greeting `connected`, and returns it parsed and as JSON text. Any other first
/// message is an error.
async fn greet(
    connection: &mut Connection,
    peer: &Peer,
) -> Result<(Arc<Connected>, Utf8Bytes), Error> {
    let unreachable = |reason: String| Error::Unreachable {
        url: peer.url.clone(),
        reason,
    };
    let text = loop {
        match connection.next().await {
            Ok(Frame::Text(text)) => break text,
            Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_)) => {}
            Err(ReadError::Ended) => {
                let reason = "it closed the connection without a message";
                return Err(unreachable(reason.to_owned()));
            }
            Err(error) => {
                return Err(match lost(&error, peer) {
                    Lost::Retry(reason) | Lost::TooBig(reason) => unreachable(reason),
                    Lost::Final(error) => error,
                });
            }
        }
    };
    match ServerMessage::from_json(&text) {
        Ok(ServerMessage::Connected(connected)) => Ok((Arc::from(connected), text)),
        Ok(ServerMessage::Reply(reply)) if reply.id.is_null() && reply.outcome.is_err() => {
            Err(reply.outcome.err().map_or(Error::Closed, Error::Rpc))
        }
        Ok(_) => Err(Error::Protocol(
            "its first message is not `connected`".to_owned(),
        )),
        Err(error) => Err(Error::Protocol(error.to_string())),
    }
}

/// Returns the client's reaction to the end of a connection, from the close code: stop for 1008
/// (policy violation), fail the largest request for 1009 (message too big), and reconnect for any
/// other code or cause (docs/protocol.md, "Close codes").
fn lost(error: &ReadError, peer: &Peer) -> Lost {
    let reason = error.to_string();
    let close = match error {
        ReadError::Closed(Some(close)) => close,
        _ => return Lost::Retry(reason),
    };
    match close.code {
        close::POLICY => Lost::Final(peer.closed_for_policy(close)),
        close::TOO_BIG => Lost::TooBig(format!("{reason}: the request is too large")),
        _ => Lost::Retry(reason),
    }
}
