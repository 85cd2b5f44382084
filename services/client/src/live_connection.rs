//! A WebSocket connection that the bridge has greeted, with pings that detect a lost connection.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use protocol::Limits;
use protocol::message::{Connected, ServerMessage};
use protocol::rpc::close;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::connection::{
    ConnectError, Connection, ConnectionOptions, ConnectionReader, ConnectionWriter, Frame,
    ReadError,
};
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
        let mut connection_options = ConnectionOptions::default();
        if let Some(token) = &options.token
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        {
            value.set_sensitive(true);
            connection_options.headers.push((AUTHORIZATION, value));
        }
        let connection = Connection::connect(address, &connection_options).await;
        let mut connection = connection.map_err(|e| connect_error(address, e))?;
        let (connected, greeting) = greet(&mut connection, address).await?;
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
                Err(error) => return Err(lost(&error)),
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

/// Reads the bridge's greeting `connected`, and returns it parsed and as JSON text. Any other first
/// message is an error.
async fn greet(
    connection: &mut Connection,
    address: &Address,
) -> Result<(Arc<Connected>, Utf8Bytes), Error> {
    let unreachable = |reason: String| Error::Unreachable {
        url: address.to_string(),
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
                return Err(match lost(&error) {
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
fn lost(error: &ReadError) -> Lost {
    let reason = error.to_string();
    let code = match error {
        ReadError::Closed(Some(close)) => close.code,
        _ => return Lost::Retry(reason),
    };
    match code {
        close::POLICY => Lost::Final(Error::Protocol(format!("{reason}: no longer authorised"))),
        close::TOO_BIG => Lost::TooBig(format!("{reason}: the request is too large")),
        _ => Lost::Retry(reason),
    }
}

/// Converts a failed attempt to connect to an error for the client's user. If the server refused
/// the upgrade, the message has the detail of its answer. An HTTP status of 500 or more gives an
/// error that may be retried, and a lower one an error that is final.
fn connect_error(address: &Address, error: ConnectError) -> Error {
    let url = address.to_string();
    let response = match error {
        ConnectError::Refused(response) => response,
        error => {
            let reason = error.to_string();
            return Error::Unreachable { url, reason };
        }
    };
    let status = response.status();
    let detail = serde_json::from_slice::<protocol::Problem>(response.body()).map(|p| p.detail);
    let reason = match (detail, status.as_u16()) {
        (Ok(detail), _) => format!("{detail} (HTTP {status})"),
        (Err(_), 403) => format!("HTTP {status}: it does not allow this host name"),
        (Err(_), _) => format!("HTTP {status}: is this the address of a bridge?"),
    };
    if status.is_server_error() {
        Error::Unreachable { url, reason }
    } else {
        Error::Refused { url, reason }
    }
}
