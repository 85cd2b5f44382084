//! One connection of a client: the low layer of the Rust client and the checker.

mod request;

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use client::{Connection, ConnectionOptions, Frame, Message, ReadError};
use http::{HeaderValue, header::AUTHORIZATION};
use serde_json::Value;

use crate::{
    soak::{actor::nuisances::MalformedFrames, principal::Principal},
    ws::{Checker, closing, transcript::Transcript},
};
pub(super) use request::{Request, RequestKind};

/// The timeout to connect, to send one frame, and to close.
const PATIENCE: Duration = Duration::from_secs(5);
/// Close codes that this client must not receive: its frames and its token are valid, and no view
/// may fail.
const UNEXPECTED_CODES: [u16; 4] = [1002, 1007, 1008, 1011];

/// A connection with its checker and its pending requests.
pub(super) struct Link {
    connection: Connection,
    checker: Checker,
    pub(super) pending: HashMap<String, Request>,
    /// Malformed frames that await their errors.
    pub(super) malformed: MalformedFrames,
    next: u64,
    /// The id of the session, which is the name of its lane; empty before `connected`.
    pub(super) session: String,
    /// The mark of the principal, which the ids of its requests have.
    mark: &'static str,
    transcript: Transcript,
    /// Until this time the client does not read.
    pub(super) deaf_until: Option<Instant>,
}

impl Link {
    pub(super) async fn open(bridge: SocketAddr, principal: &Principal) -> Result<Self, String> {
        let address = format!("ws://{bridge}/ws");
        let address = address
            .parse()
            .map_err(|error: client::Error| error.to_string())?;
        let bearer = |token: &String| HeaderValue::try_from(format!("Bearer {token}"));
        let token = principal.token.as_ref().map(bearer).transpose();
        let token = token.map_err(|error| error.to_string())?;
        let options = ConnectionOptions {
            headers: token
                .map(|token| (AUTHORIZATION, token))
                .into_iter()
                .collect(),
            ..ConnectionOptions::default()
        };
        let open = Connection::connect(&address, &options);
        let connection = tokio::time::timeout(PATIENCE, open)
            .await
            .map_err(|_| "too slow".to_owned())?
            .map_err(|error| error.to_string())?;
        Ok(Self {
            connection,
            checker: Checker::new(),
            pending: HashMap::new(),
            malformed: MalformedFrames::default(),
            next: 0,
            session: String::new(),
            mark: principal.mark(),
            transcript: Transcript::default(),
            deaf_until: None,
        })
    }

    /// Returns the next text message, or `None` at `due`.
    ///
    /// # Errors
    /// When the connection has ended: the rule that its end broke, if any.
    pub(super) async fn next(&mut self, due: Instant) -> Result<Option<String>, Option<String>> {
        if let Some(until) = self.deaf_until {
            if Instant::now() < until {
                tokio::time::sleep_until(due.min(until).into()).await;
                return Ok(None);
            }
            self.deaf_until = None;
        }
        loop {
            let frame = tokio::time::timeout_at(due.into(), self.connection.next());
            match frame.await {
                Err(_) => return Ok(None),
                Ok(Ok(Frame::Text(text))) => {
                    self.transcript.received(text.as_str());
                    return Ok(Some(text.as_str().to_owned()));
                }
                Ok(Ok(Frame::Binary(_))) => {
                    return Err(Some("a binary frame from the server".into()));
                }
                Ok(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                Ok(Err(ReadError::Closed(close))) => {
                    let code = close.map_or(closing::NO_CODE, |close| close.code);
                    return Err(self.closed(code).await.err());
                }
                Ok(Err(_)) => return Err(None),
            }
        }
    }

    /// Checks a close frame: the bridge may send its code, and no frame follows.
    async fn closed(&mut self, code: u16) -> Result<(), String> {
        self.transcript.received(&format!("closed {code}"));
        self.checker.closed(code)?;
        if UNEXPECTED_CODES.contains(&code) {
            return Err(format!("close code {code}"));
        }
        closing::nothing_follows(self.connection.next()).await
    }

    pub(super) fn check(&mut self, message: &Value, bytes: usize) -> Result<(), String> {
        self.checker.received(message, bytes)
    }

    pub(super) fn finished(&self) -> Result<(), String> {
        self.checker.finished()
    }

    /// Returns the id of the next request: a number, or a string with the mark of the principal.
    pub(super) fn id(&mut self) -> Value {
        self.next += 1;
        if self.mark.is_empty() {
            return self.next.into();
        }
        format!("{} {}", self.mark, self.next).into()
    }

    /// Returns the ids of a pending request that do not exist for the client.
    pub(super) fn pending_ids(&self, id: &Value) -> Vec<String> {
        let request = self.pending.get(&id.to_string());
        request
            .map(|request| request.asked.clone())
            .unwrap_or_default()
    }

    /// Returns the ids of all pending requests that do not exist for the client.
    pub(super) fn asked_ids(&self) -> Vec<String> {
        let asked = self.pending.values().flat_map(|request| &request.asked);
        asked.cloned().collect()
    }

    /// Sends a request, a notification or a batch; `request` holds the requests in it by id.
    pub(super) async fn send(&mut self, message: &Value, request: Vec<(Value, Request)>) -> bool {
        self.pending.extend(
            request
                .into_iter()
                .map(|(id, request)| (id.to_string(), request)),
        );
        self.checker.sent(message);
        let text = message.to_string();
        self.transcript.sent(&text);
        self.frame(Message::text(text)).await
    }

    /// Sends any frame; returns whether the connection still works.
    pub(super) async fn frame(&mut self, frame: Message) -> bool {
        let sent = tokio::time::timeout(PATIENCE, self.connection.send_frame(frame));
        matches!(sent.await, Ok(Ok(())))
    }

    pub(super) async fn close(mut self) {
        // The bridge may be gone: its close is not required.
        let _ = tokio::time::timeout(PATIENCE, self.connection.close(1000, "")).await;
    }

    pub(super) fn transcript(&self) -> String {
        self.transcript.to_string()
    }
}
