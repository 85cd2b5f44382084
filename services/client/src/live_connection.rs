//! A connection that was greeted and is kept alive by pings.

use std::sync::Arc;
use std::time::Duration;

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

/// The longest time for one message to be written; 13 MiB over a slow line need more than a ping.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest time for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection after its `connected`. A task of its own writes, so that reading never waits for a
/// bridge that does not read.
pub(crate) struct LiveConnection {
    pub(crate) connected: Arc<Connected>,
    /// The message that `connected` was read from.
    pub(crate) greeting: Utf8Bytes,
    reader: ConnectionReader,
    outbound: mpsc::UnboundedSender<Message>,
    writer: JoinHandle<()>,
    ticks: Interval,
    dead_after: Duration,
    heard: Instant,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Lost {
    /// A new connection may succeed.
    Retry(String),
    /// A request is larger than the bridge takes. The other requests may be retried.
    TooBig(String),
    /// A new connection would not help.
    Final(Error),
}

impl LiveConnection {
    /// Connects and reads `connected`, within the connect timeout.
    pub(crate) async fn connect(address: &Address, options: &Options) -> Result<Self, Error> {
        let limit = options.connect_timeout;
        match timeout(limit, Self::connect_and_greet(address, options)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unreachable {
                url: address.to_string(),
                why: format!("it did not greet within {} s", limit.as_secs_f32()),
            }),
        }
    }

    async fn connect_and_greet(address: &Address, options: &Options) -> Result<Self, Error> {
        let connection = Connection::connect(address, &ConnectionOptions::default()).await;
        let mut connection = connection.map_err(|e| connect_error(address, e))?;
        let (connected, greeting) = greet(&mut connection, address).await?;
        if connected.protocol != protocol::PROTOCOL {
            return Err(Error::Protocol(format!(
                "it speaks version {} and this client version {}; use the ccb that came with it",
                connected.protocol,
                protocol::PROTOCOL
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
            heard: Instant::now(),
        })
    }

    /// Returns the longest message that the bridge takes, in bytes.
    pub(crate) fn message_bytes(&self) -> usize {
        message_bytes(&self.connected)
    }

    /// Queues a request. If the connection is lost, [`Self::next`] reports that.
    pub(crate) fn send(&self, text: String) {
        let _ = self.outbound.send(Message::text(text));
    }

    /// Returns the next text message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            let frame = tokio::select! {
                // A frame that has arrived counts before the clock does.
                biased;
                frame = self.reader.next() => frame,
                _ = &mut self.writer => return Err(Lost::Retry("the connection broke".to_owned())),
                _ = self.ticks.tick() => {
                    let silent = self.heard.elapsed();
                    if silent >= self.dead_after {
                        let why = format!("nothing was heard for {} s", silent.as_secs_f32());
                        return Err(Lost::Retry(why));
                    }
                    let _ = self.outbound.send(Message::Ping(Vec::new().into()));
                    continue;
                }
            };
            self.heard = Instant::now();
            match frame {
                Ok(Frame::Text(text)) => return Ok(text),
                Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_)) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Sends what is queued and a close frame, and waits a moment for the answer.
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

/// Returns the longest message that a bridge takes, in bytes; the default of `messageBytes` if the
/// bridge did not say.
pub(crate) fn message_bytes(connected: &Connected) -> usize {
    let limits = connected.limits.as_ref();
    let bytes = limits.map_or_else(
        || Limits::default().message_bytes,
        |limits| limits.limits.message_bytes,
    );
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

async fn write(mut writer: ConnectionWriter, mut queue: mpsc::UnboundedReceiver<Message>) {
    while let Some(message) = queue.recv().await {
        match timeout(SEND_TIMEOUT, writer.send_frame(message)).await {
            Ok(Ok(())) => {}
            // The reader finds every loss by itself. After a close frame it still waits for the
            // bridge's.
            _ => return,
        }
    }
}

async fn greet(
    connection: &mut Connection,
    address: &Address,
) -> Result<(Arc<Connected>, Utf8Bytes), Error> {
    let unreachable = |why: String| Error::Unreachable {
        url: address.to_string(),
        why,
    };
    let text = loop {
        match connection.next().await {
            Ok(Frame::Text(text)) => break text,
            Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_)) => {}
            Err(ReadError::Ended) => {
                let why = "it closed the connection without a word";
                return Err(unreachable(why.to_owned()));
            }
            Err(error) => {
                return Err(match lost(&error) {
                    Lost::Retry(why) | Lost::TooBig(why) => unreachable(why),
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
        Err(why) => Err(Error::Protocol(why.to_string())),
    }
}

/// Decides what the client does after a connection has ended: docs/protocol.md, "Close codes".
fn lost(error: &ReadError) -> Lost {
    let why = error.to_string();
    let code = match error {
        ReadError::Closed(Some(close)) => close.code,
        _ => return Lost::Retry(why),
    };
    match code {
        close::POLICY => Lost::Final(Error::Protocol(format!("{why}: not authorised any more"))),
        close::TOO_BIG => Lost::TooBig(format!("{why}: the request is too large for it")),
        _ => Lost::Retry(why),
    }
}

fn connect_error(address: &Address, error: ConnectError) -> Error {
    let url = address.to_string();
    let response = match error {
        ConnectError::Refused(response) => response,
        error => {
            let why = error.to_string();
            return Error::Unreachable { url, why };
        }
    };
    let status = response.status();
    let detail = serde_json::from_slice::<protocol::Problem>(response.body()).map(|p| p.detail);
    let why = match (detail, status.as_u16()) {
        (Ok(detail), _) => format!("{detail} (HTTP {status})"),
        (Err(_), 403) => format!("HTTP {status}: it does not answer to this host name"),
        (Err(_), _) => format!("HTTP {status}: is this the address of a bridge?"),
    };
    if status.is_server_error() {
        Error::Unreachable { url, why }
    } else {
        Error::Refused { url, why }
    }
}
