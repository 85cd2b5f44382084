//! A bridge on port 0, a fake claude-api, and a client that checks the order of every message.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test helper: each suite uses its part, and a panic is its failure"
)]

pub mod fake;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use bridge::config::Cli;
use clap::Parser;
use futures::{SinkExt, StreamExt};
use protocol::ExecutionId;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use fake::Fake;

/// Far beyond anything that these tests do.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Bridge {
    pub addr: SocketAddr,
    pub stop: CancellationToken,
    pub done: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Bridge {
    pub async fn start(upstream: SocketAddr, args: &[&str]) -> Self {
        let url = format!("http://{upstream}");
        let fixed = [
            "bridge",
            "--claude-api-url",
            &url,
            "--heartbeat-ms",
            "150",
            "--port",
            "0",
        ];
        let cli = Cli::try_parse_from(fixed.iter().copied().chain(args.iter().copied())).unwrap();
        let settings = cli.serve.check().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = async move { bridge::run(listener, &cli.serve, settings, shutdown).await };
        Self {
            addr,
            stop,
            done: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    pub async fn connect(&self) -> Client {
        let (stream, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", self.addr))
            .await
            .unwrap();
        let mut client = Client {
            stream,
            next: 0,
            views: HashSet::new(),
            phases: HashMap::new(),
            seen: HashMap::new(),
            backlog: Vec::new(),
        };
        let connected = client.recv().await;
        assert_eq!(connected["method"], "connected");
        client
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client
            .get(format!("http://{}{path}", self.addr))
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }
}

/// What was heard of one execution.
#[derive(Debug, Default)]
pub struct Heard {
    pub output: Vec<u8>,
    pub next: u64,
    pub gaps: Vec<(u64, u64)>,
    pub words: Vec<String>,
    pub end: Option<Value>,
}

/// The messages that a view may send next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Only the statusUpdate with the state of the answer.
    First(String),
    /// Any message.
    Open,
}

pub struct Client {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    /// The ids of requests that begin a view when they are granted.
    views: HashSet<String>,
    /// The phase of each execution's view. A missing entry has no answer: its first message is a
    /// statusUpdate.
    phases: HashMap<String, Phase>,
    pub seen: HashMap<String, Heard>,
    backlog: Vec<Value>,
}

impl Client {
    pub async fn send(&mut self, value: &Value) {
        for request in value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice)
        {
            if request["method"] == "execute" || request["method"] == "attach" {
                self.views.insert(request["id"].to_string());
            }
        }
        self.stream
            .send(Message::text(value.to_string()))
            .await
            .unwrap();
    }

    /// What was heard so far does not count.
    pub fn forget(&mut self) {
        self.seen.clear();
        self.backlog.clear();
    }

    /// The next frame, whatever it is.
    pub async fn frame(&mut self) -> Option<Message> {
        match tokio::time::timeout(SOON, self.stream.next())
            .await
            .expect("nothing came")
        {
            Some(Ok(message)) => Some(message),
            // tungstenite reads no frame after a close: this is how it says that there was one.
            Some(Err(Error::Protocol(ProtocolError::ReceivedAfterClosing))) => {
                panic!("a message after a close")
            }
            Some(Err(_)) | None => None,
        }
    }

    /// The next message, its order checked.
    pub async fn recv(&mut self) -> Value {
        loop {
            match self.frame().await.expect("the connection ended") {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    let length = text.len();
                    assert!(length <= protocol::SERVER_MESSAGE_BYTES, "{length} bytes");
                    self.check(&value);
                    return value;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// A view begins with the answer.
    fn answered(&mut self, answer: &Value) {
        let result = &answer["result"];
        if !self.views.remove(&answer["id"].to_string()) || result.is_null() {
            return;
        }
        let state: protocol::State = serde_json::from_value(result["state"].clone()).unwrap();
        let phase = if state.is_terminal() {
            Phase::Open
        } else {
            Phase::First(state.as_capitals().to_owned())
        };
        let id = result["executionId"].as_str().unwrap().to_owned();
        self.phases.insert(id, phase);
    }

    fn check(&mut self, message: &Value) {
        for answer in message
            .as_array()
            .map_or(std::slice::from_ref(message), Vec::as_slice)
        {
            self.answered(answer);
        }
        let params = &message["params"];
        let Some(id) = params["executionId"].as_str() else {
            return;
        };
        let is_update = message["method"] == "statusUpdate";
        match self.phases.get(id) {
            Some(Phase::Open) => {}
            Some(Phase::First(due)) => assert!(
                is_update && params["status"] == due.as_str(),
                "before the statusUpdate {due} that follows the answer: {message}"
            ),
            None => assert!(is_update, "before the first statusUpdate: {message}"),
        }
        self.phases.insert(id.to_owned(), Phase::Open);
        let heard = self.seen.entry(id.to_owned()).or_default();
        assert!(heard.end.is_none(), "a message after the end: {message}");
        match message["method"].as_str().unwrap() {
            "statusUpdate" => {
                let word = params["status"].as_str().unwrap();
                heard.words.push(word.to_owned());
                if !["QUEUED", "RUNNING", "PAUSED", "RESUMED"].contains(&word) {
                    heard.end = Some(params.clone());
                }
            }
            "output" => {
                if heard.output.is_empty() && heard.gaps.is_empty() {
                    heard.next = params["offset"].as_u64().unwrap();
                }
                assert_eq!(params["offset"], heard.next, "the offset goes on exactly");
                let content = params["content"].as_str().unwrap();
                assert!(!content.is_empty() && content.len() <= protocol::OUTPUT_MESSAGE_BYTES);
                heard.output.extend_from_slice(content.as_bytes());
                heard.next += content.len() as u64;
            }
            "gap" => {
                let (from, to) = (
                    params["from"].as_u64().unwrap(),
                    params["to"].as_u64().unwrap(),
                );
                assert!(from == heard.next && to > from, "{message}");
                heard.gaps.push((from, to));
                heard.next = to;
            }
            "notice" => {}
            other => panic!("{other}"),
        }
    }

    pub async fn request(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        id
    }

    /// Waits for the answer with this id; other messages are kept for [`Self::until`].
    pub async fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.backlog.iter().position(|m| m["id"] == id) {
            return self.backlog.remove(at);
        }
        loop {
            let message = self.recv().await;
            if message["id"] == id {
                return message;
            }
            self.backlog.push(message);
        }
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params).await;
        self.answer(id).await
    }

    pub async fn execute(&mut self, prompt: &str) -> ExecutionId {
        let answer = self.call("execute", json!({"prompt": prompt})).await;
        answer["result"]["executionId"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .parse()
            .unwrap()
    }

    /// The first message that is so, those kept included.
    pub async fn until(&mut self, good: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.backlog.iter().position(&good) {
            return self.backlog.remove(at);
        }
        loop {
            let message = self.recv().await;
            if good(&message) {
                return message;
            }
            self.backlog.push(message);
        }
    }

    pub async fn notice(&mut self, code: &str) -> Value {
        self.until(|m| m["method"] == "notice" && m["params"]["code"] == code)
            .await
    }

    pub async fn status(&mut self, word: &str) -> Value {
        self.until(|m| m["method"] == "statusUpdate" && m["params"]["status"] == word)
            .await
    }

    /// Everything of one execution, to its end.
    pub async fn all_of(&mut self, id: ExecutionId) -> &Heard {
        let name = id.to_string();
        while self.seen.get(&name).is_none_or(|h| h.end.is_none()) {
            let message = self.recv().await;
            self.backlog.push(message);
        }
        &self.seen[&name]
    }

    /// The code of the close frame that comes.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self
                .frame()
                .await
                .expect("the connection ended without a close")
            {
                Message::Close(frame) => return frame.unwrap().code.into(),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
