//! One connection of a client.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::{
    soak::{actor::nuisances::Nonsense, execution::Execution, input::Offer},
    ws::{Checker, closing},
};

/// To connect, to send one frame, to close.
const PATIENCE: Duration = Duration::from_secs(5);
const TRANSCRIPT: usize = 60;
const SHORT: usize = 300;

/// What an answer will be about, and what was known when it was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) what: What,
    /// `None` where it is about nothing that is followed.
    pub(super) execution: Option<Arc<Execution>>,
    /// Somebody had an answer that it exists.
    pub(super) accepted: bool,
    /// Somebody had seen its end.
    pub(super) over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Execute,
    /// With a body that it was not made with.
    Conflict,
    /// `seen`: somebody has seen the output that far, so that the offset must be good. `fresh`: not to go on with the
    /// view there is.
    Attach {
        offset: Option<u64>,
        seen: bool,
        fresh: bool,
        skip: bool,
    },
    Detach,
    Control,
    Cancel,
    Input(Offer),
    Other,
    /// It must be refused.
    Bad,
}

impl Asked {
    pub(super) fn about(what: What, execution: &Arc<Execution>) -> Self {
        let facts = execution.facts();
        Self {
            what,
            execution: Some(Arc::clone(execution)),
            accepted: facts.accepted,
            over: facts.terminal.is_some(),
        }
    }

    pub(super) fn nothing(what: What) -> Self {
        Self {
            what,
            execution: None,
            accepted: false,
            over: false,
        }
    }
}

/// A WebSocket with all that is known of it.
pub(super) struct Link {
    socket: WebSocketStream<TcpStream>,
    checker: Checker,
    pub(super) pending: HashMap<String, Asked>,
    /// Frames that were not right.
    pub(super) nonsense: Nonsense,
    next: u64,
    transcript: VecDeque<String>,
    /// Nothing is read until then.
    pub(super) deaf_until: Option<Instant>,
}

impl Link {
    pub(super) async fn open(bridge: SocketAddr) -> Result<Self, String> {
        let open = async {
            let stream = TcpStream::connect(bridge)
                .await
                .map_err(|error| error.to_string())?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(64 << 20))
                .max_frame_size(Some(64 << 20));
            client_async_with_config(format!("ws://{bridge}/ws"), stream, Some(config))
                .await
                .map_err(|error| error.to_string())
        };
        let (socket, _) = tokio::time::timeout(PATIENCE, open)
            .await
            .map_err(|_| "too slow".to_owned())??;
        Ok(Self {
            socket,
            checker: Checker::new(),
            pending: HashMap::new(),
            nonsense: Nonsense::default(),
            next: 0,
            transcript: VecDeque::new(),
            deaf_until: None,
        })
    }

    /// The next text message before `due`, else `None`.
    ///
    /// # Errors
    /// The connection is gone; with the rule that it broke, if it did.
    pub(super) async fn next(&mut self, due: Instant) -> Result<Option<String>, Option<String>> {
        if let Some(until) = self.deaf_until {
            if Instant::now() < until {
                tokio::time::sleep_until(due.min(until).into()).await;
                return Ok(None);
            }
            self.deaf_until = None;
        }
        loop {
            let message = match tokio::time::timeout_at(due.into(), self.socket.next()).await {
                Err(_) => return Ok(None),
                Ok(None | Some(Err(_))) => return Err(None),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => {
                    self.note("<-", text.as_str());
                    return Ok(Some(text.as_str().to_owned()));
                }
                Message::Binary(_) => return Err(Some("a binary frame from the server".into())),
                Message::Close(frame) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    self.note("<-", &format!("close {code}"));
                    let known = [1000, 1001, 1005, 1008, 1009, 1012, 1013].contains(&code);
                    if !known {
                        return Err(Some(format!("close code {code}")));
                    }
                    return Err(closing::nothing_follows(&mut self.socket).await.err());
                }
                _ => {}
            }
        }
    }

    pub(super) fn check(&mut self, message: &Value, bytes: usize) -> Result<(), String> {
        self.checker.received(message, bytes)
    }

    pub(super) fn finished(&self) -> Result<(), String> {
        self.checker.finished()
    }

    /// The id of the next request.
    pub(super) fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Sends a request, a notification or a batch; `asked` by the ids in it.
    pub(super) async fn send(&mut self, message: &Value, asked: Vec<(Value, Asked)>) -> bool {
        self.pending
            .extend(asked.into_iter().map(|(id, asked)| (id.to_string(), asked)));
        self.checker.sent(message);
        let text = message.to_string();
        self.note("->", &text);
        self.frame(Message::text(text)).await
    }

    /// Sends any frame; says whether the connection is still good.
    pub(super) async fn frame(&mut self, frame: Message) -> bool {
        matches!(
            tokio::time::timeout(PATIENCE, self.socket.send(frame)).await,
            Ok(Ok(()))
        )
    }

    pub(super) async fn close(mut self) {
        // The other side may be gone: then there is nothing to wait for.
        let _ = tokio::time::timeout(PATIENCE, self.socket.close(None)).await;
    }

    fn note(&mut self, way: &str, text: &str) {
        if self.transcript.len() == TRANSCRIPT {
            self.transcript.pop_front();
        }
        self.transcript.push_back(format!(
            "  {way} {}",
            text.chars().take(SHORT).collect::<String>()
        ));
    }

    pub(super) fn transcript(&self) -> String {
        self.transcript
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }
}
