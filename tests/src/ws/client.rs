//! Connects a client and sends its messages. [`waits`] waits for messages, and [`received`] returns
//! the received ones.

mod received;
mod waits;

use std::{fmt::Display, net::SocketAddr, time::Duration};

use client::{Connection, ConnectionOptions, Message, SendError, connection::ConnectionWriter};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::{Recorded, reader::Shared};

pub use client::ConnectError;

/// The options of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// The path, default `/ws`.
    pub path: String,
    /// More headers of the upgrade (`Origin`, `Host`, `Authorization`).
    pub headers: Vec<(String, String)>,
    /// The token of the upgrade, in the header `Authorization`; none by default.
    pub token: Option<String>,
    /// Whether output is kept (default), or only counted and checked.
    pub keep_output: bool,
    /// The timeout of each wait, default 30 s.
    pub patience: Duration,
    /// The receive buffer of the socket in bytes: a small one makes a slow client sooner.
    pub receive_buffer: Option<u32>,
    /// Whether every message is kept for [`Client::recorded`]; off by default.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: "/ws".into(),
            headers: Vec::new(),
            token: None,
            keep_output: true,
            patience: Duration::from_secs(30),
            receive_buffer: None,
            record: false,
        }
    }
}

/// One session, on the low layer of the Rust client ([`Connection`]). Every method panics, with the
/// transcript, after a violation of the protocol or a timeout. Dropping the client panics on a
/// violation that no method has reported.
pub struct Client {
    writer: ConnectionWriter,
    shared: Shared,
    options: Options,
    next_id: u64,
    reading: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Client {
    /// Connects to the bridge and waits for `connected`.
    ///
    /// # Panics
    /// If there is no session in time.
    pub async fn connect(bridge: SocketAddr) -> Self {
        Self::connect_with(bridge, Options::default()).await
    }

    /// Connects with options, and waits for `connected`.
    ///
    /// # Panics
    /// If there is no session in time.
    pub async fn connect_with(bridge: SocketAddr, options: Options) -> Self {
        let client = Self::try_connect(bridge, options)
            .await
            .unwrap_or_else(|error| panic!("no session: {error}"));
        client
            .until("connected", |inner| inner.connected.clone())
            .await;
        client
    }

    /// Connects and upgrades, without waiting for `connected`.
    ///
    /// # Errors
    /// The refused upgrade ([`ConnectError::Refused`] has the response), or why there is no
    /// connection.
    ///
    /// # Panics
    /// If a header or the path of the options is malformed.
    pub async fn try_connect(bridge: SocketAddr, options: Options) -> Result<Self, ConnectError> {
        let token = options.token.as_ref();
        let token = token.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        let headers = options.headers.iter().chain(&token).map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str()).expect("a header's name");
            (
                name,
                HeaderValue::try_from(value.as_str()).expect("a header's value"),
            )
        });
        let connection_options = ConnectionOptions {
            headers: headers.collect(),
            receive_buffer_bytes: options.receive_buffer,
            ..ConnectionOptions::default()
        };
        let address = format!("ws://{bridge}{}", options.path);
        let address = address.parse().expect("an address");
        let connection = Connection::connect(&address, &connection_options).await?;
        let (writer, reader) = connection.split();
        let shared = Shared::new(options.keep_output, options.record);
        let (reading, may_read) = watch::channel(true);
        let task = tokio::spawn(shared.clone().read_all(reader, may_read));
        Ok(Self {
            writer,
            shared,
            options,
            next_id: 0,
            reading,
            task,
        })
    }

    /// Returns the params of `connected`.
    #[must_use]
    pub fn connected(&self) -> Value {
        self.shared.lock().connected.clone().unwrap_or_default()
    }

    /// Returns the session's id.
    #[must_use]
    pub fn session_id(&self) -> String {
        self.connected()["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Stops reading from the socket, like a client that hangs, or resumes.
    pub fn read(&self, on: bool) {
        self.reading.send_replace(on);
    }

    /// Sends a text frame unchanged, well formed or not.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn send_text(&mut self, text: &str) {
        if let Err(error) = self.try_send_text(text).await {
            panic!("cannot send: {error}\n{}", self.shared.lock().transcript());
        }
    }

    /// Sends a text frame to a bridge that may have closed the session, or may not read. When the
    /// returned future is dropped, the frame may still be sent before the next one.
    ///
    /// # Errors
    /// If the socket is closed.
    pub async fn try_send_text(&mut self, text: &str) -> Result<(), SendError> {
        match serde_json::from_str(text) {
            Ok(message) => self.shared.sent(&message),
            Err(_) => self.shared.lock().record(Recorded::Sent, text),
        }
        self.writer.send_text(text).await
    }

    /// Sends any frame.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn send_frame(&mut self, frame: Message) {
        if let Err(error) = self.writer.send_frame(frame).await {
            panic!("cannot send: {error}\n{}", self.shared.lock().transcript());
        }
    }

    /// Sends a request and returns its id.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn request(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let message =
            json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params});
        self.send_text(&message.to_string()).await;
        self.next_id
    }

    /// Sends a notification, which has no answer.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn notify(&mut self, method: &str, params: Value) {
        self.send_text(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string())
            .await;
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    /// If no answer arrives in time.
    ///
    /// # Errors
    /// The error object of the answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.request(method, params).await;
        self.answer(id).await
    }

    /// Executes a prompt and returns the status. `extra` is an object with further parameters.
    ///
    /// # Panics
    /// If the execute is refused.
    pub async fn execute(&mut self, prompt: &str, extra: Value) -> Value {
        let mut params = json!({"prompt": prompt});
        if let (Value::Object(params), Value::Object(extra)) = (&mut params, extra) {
            params.extend(extra);
        }
        self.call("execute", params)
            .await
            .unwrap_or_else(|error| panic!("execute was refused: {error}"))
    }

    /// Executes a prompt and returns the execution's id.
    ///
    /// # Panics
    /// If the execute is refused.
    pub async fn start(&mut self, prompt: &str) -> String {
        let status = self.execute(prompt, json!({})).await;
        status["executionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Executes a prompt and waits for its end; returns the output and the terminal status.
    ///
    /// # Panics
    /// If the execute is refused, or the execution does not end in time.
    pub async fn run(&mut self, prompt: &str) -> (Vec<u8>, Value) {
        let id = self.start(prompt).await;
        self.wait_terminal(&id).await
    }

    /// Attaches to an execution, from an offset or the beginning. The client discards the messages
    /// of an earlier view of that execution.
    ///
    /// # Panics
    /// If no answer arrives in time.
    ///
    /// # Errors
    /// The error object.
    pub async fn attach(
        &mut self,
        execution: impl Display,
        offset: Option<u64>,
    ) -> Result<Value, Value> {
        let mut params = json!({"executionId": execution.to_string()});
        if let Some(offset) = offset {
            params["offset"] = offset.into();
        }
        self.call("attach", params).await
    }

    /// Sends the control PAUSE, RESUME or CANCEL, and waits for its answer.
    ///
    /// # Panics
    /// If no answer arrives in time.
    ///
    /// # Errors
    /// The error object.
    pub async fn control(&mut self, what: &str, execution: Option<&str>) -> Result<Value, Value> {
        let mut params = json!({"type": what});
        if let Some(execution) = execution {
            params["executionId"] = execution.into();
        }
        self.call("control", params).await
    }

    /// Checks that no message is missing, closes with code 1000, and waits for the end.
    ///
    /// # Panics
    /// If an answer or an end is missing.
    pub async fn finish(mut self) {
        {
            let inner = self.shared.lock();
            if let Err(missing) = inner.checker.finished() {
                panic!("{missing}\n{}", inner.transcript());
            }
        }
        if self.writer.close(1000, "").await.is_ok() {
            self.wait_closed().await;
        }
    }

    /// Drops the connection without a close frame.
    pub fn vanish(self) {
        self.task.abort();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
        let inner = self.shared.lock();
        if let Some(rule) = inner
            .violation
            .as_ref()
            .filter(|_| !std::thread::panicking())
        {
            panic!(
                "a rule of the protocol is broken: {rule}\n{}",
                inner.transcript()
            );
        }
    }
}
