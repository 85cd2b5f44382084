//! One WebSocket connection: dialled with a time limit, written by a task of its own so that reading never waits
//! for a peer that does not read, watched by pings.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use protocol::rpc::close;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::wire::Incoming;
use crate::{Address, Connected, Error, Options};

/// The largest message of a bridge whose greeting has no `messageBytes` (contract, section 4).
pub(crate) const MESSAGE_BYTES: usize = 13 * 1024 * 1024;
/// Lists are the only large messages of the bridge: at most 1000 statuses of 64 KiB.
const INBOUND_BYTES: usize = 96 * 1024 * 1024;
/// How long one message may take to be written; 13 MiB over a slow line need more than a ping.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct Link {
    pub(crate) connected: Connected,
    /// The message that `connected` is made of.
    pub(crate) greeting: Utf8Bytes,
    reader: SplitStream<Socket>,
    outbound: mpsc::UnboundedSender<Message>,
    writer: JoinHandle<()>,
    ticks: Interval,
    dead_after: Duration,
    heard: Instant,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Gone {
    /// Come back.
    Lost(String),
    /// One request is larger than the bridge takes; the other requests may be retried.
    TooBig(String),
    /// Coming back would not help.
    For(Error),
}

impl Link {
    /// Connects and takes the greeting.
    pub(crate) async fn dial(address: &Address, options: &Options) -> Result<Self, Error> {
        let limit = options.connect_timeout;
        match timeout(limit, Self::dial_and_greet(address, options)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unreachable {
                url: address.to_string(),
                why: format!("it did not greet within {} s", limit.as_secs_f32()),
            }),
        }
    }

    async fn dial_and_greet(address: &Address, options: &Options) -> Result<Self, Error> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(INBOUND_BYTES))
            .max_frame_size(Some(INBOUND_BYTES));
        let (mut socket, _) = connect_async_with_config(address.as_str(), Some(config), true)
            .await
            .map_err(|e| dial_error(address, e))?;
        let (connected, greeting) = greet(&mut socket, address).await?;
        if connected.protocol != protocol::PROTOCOL {
            return Err(Error::Protocol(format!(
                "it speaks version {} and this client version {}; use the ccb that came with it",
                connected.protocol,
                protocol::PROTOCOL
            )));
        }
        let (writer, reader) = socket.split();
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

    /// Queues a request. A connection that is gone is noticed by [`Link::next`].
    pub(crate) fn send(&self, text: String) {
        let _ = self.outbound.send(Message::text(text));
    }

    /// The next text message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, Gone> {
        loop {
            let message = tokio::select! {
                // What has arrived counts before the clock does.
                biased;
                message = self.reader.next() => message,
                _ = &mut self.writer => return Err(Gone::Lost("the connection broke".to_owned())),
                _ = self.ticks.tick() => {
                    if self.heard.elapsed() >= self.dead_after {
                        let why = format!("nothing was heard for {} s", self.heard.elapsed().as_secs_f32());
                        return Err(Gone::Lost(why));
                    }
                    let _ = self.outbound.send(Message::Ping(Vec::new().into()));
                    continue;
                }
            };
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(Gone::Lost(e.to_string())),
                None => return Err(Gone::Lost("the connection was closed".to_owned())),
            }
        }
    }

    /// Sends what is queued, says goodbye and waits a moment for the other side to do so.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame {
            code: close::NORMAL.into(),
            reason: Utf8Bytes::default(),
        };
        let _ = self.outbound.send(Message::Close(Some(frame)));
        let _ = timeout(CLOSE_TIMEOUT, async {
            while let Some(Ok(_)) = self.reader.next().await {}
        })
        .await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

async fn write(mut sink: SplitSink<Socket, Message>, mut queue: mpsc::UnboundedReceiver<Message>) {
    while let Some(message) = queue.recv().await {
        match timeout(SEND_TIMEOUT, sink.send(message)).await {
            Ok(Ok(())) => {}
            // After a close of ours the reader still wants to see the other's; it learns of all else by itself.
            _ => return,
        }
    }
}

async fn greet(socket: &mut Socket, address: &Address) -> Result<(Connected, Utf8Bytes), Error> {
    let unreachable = |why: String| Error::Unreachable {
        url: address.to_string(),
        why,
    };
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                return Err(match closed(frame) {
                    Gone::Lost(why) | Gone::TooBig(why) => unreachable(why),
                    Gone::For(error) => error,
                });
            }
            Some(Ok(_)) => continue,
            Some(Err(e)) => return Err(unreachable(e.to_string())),
            None => {
                return Err(unreachable(
                    "it closed the connection without a word".to_owned(),
                ));
            }
        };
        return match Incoming::parse(&text) {
            Ok(Incoming::Connected(connected)) => Ok((connected, text)),
            Ok(Incoming::Refused(error)) => Err(Error::Rpc(error)),
            Ok(_) => Err(Error::Protocol(
                "its first message is not `connected`".to_owned(),
            )),
            Err(why) => Err(Error::Protocol(why)),
        };
    }
}

/// What a close means (contract, section 3).
fn closed(frame: Option<CloseFrame>) -> Gone {
    let Some(frame) = frame else {
        return Gone::Lost("the bridge closed the connection".to_owned());
    };
    let code = u16::from(frame.code);
    let said = if frame.reason.is_empty() {
        format!("the bridge closed the connection ({code})")
    } else {
        format!(
            "the bridge closed the connection ({code}: {})",
            frame.reason
        )
    };
    match code {
        close::POLICY => Gone::For(Error::Protocol(format!("{said}: not authorised any more"))),
        close::TOO_BIG => Gone::TooBig(format!("{said}: the request is too large for it")),
        _ => Gone::Lost(said),
    }
}

fn dial_error(address: &Address, error: WsError) -> Error {
    let url = address.to_string();
    match error {
        WsError::Http(response) => {
            let status = response.status();
            let body = response.body().as_deref().unwrap_or_default();
            let detail = serde_json::from_slice::<protocol::Problem>(body)
                .map(|p| p.detail)
                .ok();
            let why = match (detail, status.as_u16()) {
                (Some(detail), _) => format!("{detail} (HTTP {status})"),
                (None, 403) => format!("HTTP {status}: it does not answer to this host name"),
                (None, _) => format!("HTTP {status}: is this the address of a bridge?"),
            };
            if status.is_server_error() {
                Error::Unreachable { url, why }
            } else {
                Error::Refused { url, why }
            }
        }
        WsError::Url(e) => Error::Address(format!("{url}: {e}")),
        WsError::Io(e) => Error::Unreachable {
            url,
            why: e.to_string(),
        },
        other => Error::Unreachable {
            url,
            why: format!("it does not speak WebSocket as expected: {other}"),
        },
    }
}
