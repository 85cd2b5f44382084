//! What one client has received: kept, checked, and waited for.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

use super::Checker;

/// The transcript keeps so many messages, each shortened.
const TRANSCRIPT: usize = 120;
const SHORT: usize = 400;

/// Everything received so far.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) checker: Checker,
    pub(super) connected: Option<Value>,
    /// By the id's JSON text.
    pub(super) answers: HashMap<String, Value>,
    /// Answers with id null, and whole batches.
    pub(super) loose: Vec<Value>,
    /// By execution: the output that came since the last answer about it, gaps left out.
    pub(super) outputs: HashMap<String, Vec<u8>>,
    /// By execution: bytes of output received, kept or not.
    pub(super) received: HashMap<String, u64>,
    pub(super) gaps: HashMap<String, Vec<(u64, u64)>>,
    /// By execution (`""` for rejections): the params, in order.
    pub(super) updates: HashMap<String, Vec<Value>>,
    pub(super) notices: Vec<Value>,
    /// How the socket ended: a close code, 1005 for none, 1006 for a broken connection.
    pub(super) closed: Option<u16>,
    pub(super) violation: Option<String>,
    transcript: VecDeque<String>,
    /// Requests whose answer begins a view.
    views: HashSet<String>,
    pub(super) keep_output: bool,
    /// Every message, where the options ask for that.
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

/// Shared by the client and its reading task.
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

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn sent(&self, message: &Value) {
        let mut inner = self.lock();
        let text = message.to_string();
        inner.note("->", &text);
        inner.record(Recorded::Sent, &text);
        inner.checker.sent(message);
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

    pub(super) fn received(&self, text: &str) {
        let mut inner = self.lock();
        inner.note("<-", text);
        inner.record(Recorded::Received, text);
        match serde_json::from_str(text) {
            Ok(message) => inner.take(message, text.len()),
            Err(error) => inner.broken(format!("a message that is no JSON: {error}")),
        }
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn end(&self, code: u16) {
        let mut inner = self.lock();
        inner.note("<-", &format!("closed {code}"));
        if inner.closed.is_some() {
            inner.broken("a message after a close".into());
        }
        inner.closed = Some(code);
        if let Some(recorded) = &mut inner.recorded {
            recorded.push(Recorded::Closed(code));
        }
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn fail(&self, rule: &str) {
        self.lock().broken(rule.to_owned());
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Inner {
    pub(super) fn broken(&mut self, rule: String) {
        self.violation.get_or_insert(rule);
    }

    pub(super) fn record(&mut self, message: fn(String) -> Recorded, text: &str) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(message(text.to_owned()));
        }
    }

    fn note(&mut self, way: &str, text: &str) {
        if self.transcript.len() == TRANSCRIPT {
            self.transcript.pop_front();
        }
        let short: String = text.chars().take(SHORT).collect();
        let more = if short.len() < text.len() {
            format!("... ({} bytes)", text.len())
        } else {
            String::new()
        };
        self.transcript.push_back(format!("{way} {short}{more}"));
    }

    pub(super) fn transcript(&self) -> String {
        self.transcript
            .iter()
            .map(|line| format!("  {line}\n"))
            .collect()
    }

    fn take(&mut self, message: Value, bytes: usize) {
        if let Err(rule) = self.checker.received(&message, bytes) {
            self.broken(rule);
        }
        match message {
            Value::Array(answers) => {
                answers.iter().for_each(|answer| self.answer(answer));
                self.loose.push(Value::Array(answers));
            }
            message if message.get("method").is_none() => self.answer(&message),
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
        match message.get("id") {
            None | Some(Value::Null) => self.loose.push(message.clone()),
            Some(id) => {
                self.answers.insert(id.to_string(), message.clone());
            }
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

    /// A new view of an execution begins: forgets what earlier views brought.
    fn forget(&mut self, execution: &str) {
        self.outputs.remove(execution);
        self.received.remove(execution);
        self.gaps.remove(execution);
        self.updates.remove(execution);
    }
}
