//! Reads, checks and keeps the messages that one client receives.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use client::{Frame, ReadError, connection::ConnectionReader};
use serde_json::Value;
use tokio::sync::watch;

use super::{Checker, closing, transcript::Transcript};
use crate::described::websocket::Session;

/// Everything received so far.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) checker: Checker,
    /// The comparison with the document of the bridge.
    described: Session,
    pub(super) connected: Option<Value>,
    /// Answers by the id's JSON text.
    pub(super) answers: HashMap<String, Value>,
    /// Answers with id null outside a batch, and whole batches.
    pub(super) loose: Vec<Value>,
    /// By execution: the output of the current view, without gaps.
    pub(super) outputs: HashMap<String, Vec<u8>>,
    /// By execution: the received bytes of output, kept or not.
    pub(super) received: HashMap<String, u64>,
    pub(super) gaps: HashMap<String, Vec<(u64, u64)>>,
    /// By execution (`""` for rejections): the params of the statusUpdates, in order.
    pub(super) updates: HashMap<String, Vec<Value>>,
    /// By execution: the params of `question` and `questionClosed` in the current view, in order.
    pub(super) questions: HashMap<String, Vec<Value>>,
    pub(super) notices: Vec<Value>,
    /// The close code of the socket: 1005 for none, 1006 for a broken connection.
    pub(super) closed: Option<u16>,
    pub(super) violation: Option<String>,
    transcript: Transcript,
    /// The ids of requests whose answer begins a view.
    views: HashSet<String>,
    pub(super) keep_output: bool,
    /// Every message, if the options ask for that.
    pub(super) recorded: Option<Vec<Recorded>>,
}

/// One message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Text from the client.
    Sent(String),
    /// Text from the bridge.
    Received(String),
    /// The close code with which the session ended.
    Closed(u16),
}

/// The state that the client and its reading task share.
#[derive(Clone)]
pub(super) struct Shared {
    /// No await happens inside the lock.
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Shared {
    pub(super) fn new(keep_output: bool, record: bool) -> Self {
        let inner = Inner {
            keep_output,
            recorded: record.then(Vec::new),
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end of the connection, whenever `may_read` is true.
    pub(super) async fn read_all(
        self,
        mut reader: ConnectionReader,
        mut may_read: watch::Receiver<bool>,
    ) {
        loop {
            if may_read.wait_for(|may| *may).await.is_err() {
                return;
            }
            let frame = tokio::select! {
                biased;
                changed = may_read.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                frame = reader.next() => frame,
            };
            match frame {
                Ok(Frame::Text(text)) => self.received(text.as_str()),
                Ok(Frame::Binary(_)) => self.fail("a binary frame from the server"),
                Ok(Frame::Ping(_) | Frame::Pong(_)) => {}
                Err(ReadError::Closed(close)) => {
                    // Checked before the end is published: a test may then drop the client.
                    if let Err(rule) = closing::nothing_follows(reader.next()).await {
                        self.fail(&rule);
                    }
                    return self.end(close.map_or(closing::NO_CODE, |close| close.code));
                }
                Err(_) => return self.end(closing::BROKEN),
            }
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn sent(&self, message: &Value) {
        let mut inner = self.lock();
        let text = message.to_string();
        inner.transcript.sent(&text);
        inner.record(Recorded::Sent, &text);
        inner.checker.sent(message);
        inner.described.sent(message);
        let requests = message
            .as_array()
            .map_or(std::slice::from_ref(message), Vec::as_slice);
        for request in requests {
            if let (Some(id), Some("execute" | "attach")) =
                (request.get("id"), request["method"].as_str())
            {
                inner.views.insert(id.to_string());
            }
        }
    }

    fn received(&self, text: &str) {
        let mut inner = self.lock();
        inner.transcript.received(text);
        inner.record(Recorded::Received, text);
        match serde_json::from_str(text) {
            Ok(message) => inner.take(message, text.len()),
            Err(error) => inner.broken(format!("a message that is no JSON: {error}")),
        }
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    fn end(&self, code: u16) {
        let mut inner = self.lock();
        inner.transcript.received(&format!("closed {code}"));
        if let Err(rule) = inner.checker.closed(code) {
            inner.broken(rule);
        }
        inner.closed = Some(code);
        if let Some(recorded) = &mut inner.recorded {
            recorded.push(Recorded::Closed(code));
        }
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    fn fail(&self, rule: &str) {
        self.lock().broken(rule.to_owned());
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Inner {
    fn broken(&mut self, rule: String) {
        self.violation.get_or_insert(rule);
    }

    pub(super) fn record(&mut self, message: fn(String) -> Recorded, text: &str) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(message(text.to_owned()));
        }
    }

    pub(super) fn transcript(&self) -> String {
        self.transcript.to_string()
    }

    fn take(&mut self, message: Value, bytes: usize) {
        if let Err(rule) = self.checker.received(&message, bytes) {
            self.broken(rule);
        }
        if let Err(difference) = self.described.received(&message) {
            self.broken(difference);
        }
        match message {
            Value::Array(answers) => {
                answers.iter().for_each(|answer| self.answer(answer));
                self.loose.push(Value::Array(answers));
            }
            message if message.get("method").is_none() => {
                self.answer(&message);
                if message.get("id").is_none_or(Value::is_null) {
                    self.loose.push(message);
                }
            }
            mut message => {
                let params = message["params"].take();
                self.notification(message["method"].as_str().unwrap_or_default(), params);
            }
        }
    }

    fn answer(&mut self, message: &Value) {
        let begins = message
            .get("id")
            .is_some_and(|id| self.views.remove(&id.to_string()));
        if begins && let Some(execution) = message["result"]["executionId"].as_str() {
            self.forget(execution);
        }
        if let Some(id) = message.get("id").filter(|id| !id.is_null()) {
            self.answers.insert(id.to_string(), message.clone());
        }
    }

    fn notification(&mut self, method: &str, params: Value) {
        let id = params["executionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match method {
            "connected" => self.connected = Some(params),
            "statusUpdate" => self.updates.entry(id).or_default().push(params),
            "question" | "questionClosed" => self.questions.entry(id).or_default().push(params),
            "notice" => self.notices.push(params),
            "gap" => {
                let number = |name: &str| params[name].as_u64().unwrap_or_default();
                self.gaps
                    .entry(id)
                    .or_default()
                    .push((number("from"), number("to")));
            }
            "output" => {
                let content = params["content"].as_str().unwrap_or_default();
                *self.received.entry(id.clone()).or_default() += content.len() as u64;
                if self.keep_output {
                    self.outputs
                        .entry(id)
                        .or_default()
                        .extend_from_slice(content.as_bytes());
                }
            }
            _ => {}
        }
    }

    /// Discards the messages of earlier views of an execution when a new one begins.
    fn forget(&mut self, execution: &str) {
        self.outputs.remove(execution);
        self.received.remove(execution);
        self.gaps.remove(execution);
        self.updates.remove(execution);
        self.questions.remove(execution);
    }
}
