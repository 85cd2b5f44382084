//! The client itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
        protocol::WebSocketConfig,
    },
};

use super::{
    Recorded, closing,
    reader::{Inner, Shared},
};

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The path, default `/ws`.
    pub path: String,
    /// More headers of the upgrade (`Origin`, `Host`, `Authorization`).
    pub headers: Vec<(String, String)>,
    /// Whether output is kept (default), or only counted and checked.
    pub keep_output: bool,
    /// Whether each message is checked against docs/protocol.md, "Delivery" (default). Off only to
    /// send nonsense on purpose.
    pub strict: bool,
    /// How long a helper waits for what it waits for, default 30 s.
    pub patience: Duration,
    /// The receive buffer of the socket in bytes, to be a slow client sooner.
    pub receive_buffer: Option<usize>,
    /// Whether every message is kept for [`Client::recorded`]; off by default.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: "/ws".into(),
            headers: Vec::new(),
            keep_output: true,
            strict: true,
            patience: Duration::from_secs(30),
            receive_buffer: None,
            record: false,
        }
    }
}

/// One session. Every helper panics, with the transcript, when a rule was broken or time is up;
/// dropping it does so too when a violation was not seen before.
pub struct Client {
    sink: Sink,
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

    /// The same, with options.
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

    /// Only the upgrade: `connected` is not waited for.
    ///
    /// # Errors
    /// The refused upgrade (`Error::Http` has the response) or what the connection fails with.
    pub async fn try_connect(bridge: SocketAddr, options: Options) -> Result<Self, Box<Error>> {
        let mut request = format!("ws://{bridge}{}", options.path)
            .into_client_request()
            .map_err(Box::new)?;
        for (name, value) in &options.headers {
            let name =
                HeaderName::try_from(name.as_str()).map_err(|error| Box::new(error.into()))?;
            let value =
                HeaderValue::try_from(value.as_str()).map_err(|error| Box::new(error.into()))?;
            request.headers_mut().insert(name, value);
        }
        let stream = connect(bridge, options.receive_buffer)
            .await
            .map_err(|error| Box::new(Error::Io(error)))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(64 << 20))
            .max_frame_size(Some(64 << 20));
        let (socket, _) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(Box::new)?;
        let (sink, mut stream) = socket.split();
        let shared = Shared::new(options.keep_output, options.record);
        let (reading, mut may_read) = watch::channel(true);
        let to = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                if may_read.wait_for(|may| *may).await.is_err() {
                    return;
                }
                let message = tokio::select! {
                    biased;
                    changed = may_read.changed() => match changed { Ok(()) => continue, Err(_) => return },
                    message = stream.next() => message,
                };
                match message {
                    Some(Ok(Message::Text(text))) => to.received(text.as_str()),
                    Some(Ok(Message::Binary(_))) => to.fail("a binary frame from the server"),
                    Some(Ok(Message::Close(frame))) => {
                        // Before the end is told: who waits for it may drop the client then.
                        if let Err(rule) = closing::nothing_follows(&mut stream).await {
                            to.fail(&rule);
                        }
                        return to.end(frame.map_or(1005, |frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return to.end(1006),
                }
            }
        });
        Ok(Self {
            sink,
            shared,
            options,
            next_id: 0,
            reading,
            task,
        })
    }

    /// What `connected` said.
    #[must_use]
    pub fn connected(&self) -> Value {
        self.shared.lock().connected.clone().unwrap_or_default()
    }

    /// The session's id.
    #[must_use]
    pub fn session_id(&self) -> String {
        self.connected()["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Stops reading from the socket, as a client that hangs does; or goes on.
    pub fn read(&self, on: bool) {
        self.reading.send_replace(on);
    }

    /// Sends a text frame as it is, well formed or not.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn send_text(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(message) => self.shared.sent(&message),
            Err(_) => self.shared.lock().record(Recorded::Sent, text),
        }
        self.send_frame(Message::text(text)).await;
    }

    /// Sends any frame.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn send_frame(&mut self, frame: Message) {
        if let Err(error) = self.sink.send(frame).await {
            panic!("cannot send: {error}\n{}", self.shared.lock().transcript());
        }
    }

    /// Sends a request; answers its id.
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

    /// Sends a notification: nobody answers it.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn notify(&mut self, method: &str, params: Value) {
        self.send_text(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string())
            .await;
    }

    /// Waits for the answer to a request: its result, or its error.
    ///
    /// # Panics
    /// If none comes in time.
    ///
    /// # Errors
    /// The error object that it was answered with.
    pub async fn answer(&self, id: u64) -> Result<Value, Value> {
        let key = id.to_string();
        let mut answer = self
            .until(&format!("the answer to {id}"), |inner| {
                inner.answers.get(&key).cloned()
            })
            .await;
        if answer.get("error").is_some() {
            Err(answer["error"].take())
        } else {
            Ok(answer["result"].take())
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    /// If none comes in time.
    ///
    /// # Errors
    /// The error object that it was answered with.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.request(method, params).await;
        self.answer(id).await
    }

    /// Executes a prompt; `extra` is an object with further fields. Answers the status.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn execute(&mut self, prompt: &str, extra: Value) -> Value {
        let mut params = json!({"prompt": prompt});
        if let (Value::Object(params), Value::Object(extra)) = (&mut params, extra) {
            params.extend(extra);
        }
        self.call("execute", params)
            .await
            .unwrap_or_else(|error| panic!("execute was refused: {error}"))
    }

    /// Executes a prompt and answers the execution's id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn start(&mut self, prompt: &str) -> String {
        let status = self.execute(prompt, json!({})).await;
        status["executionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Executes a prompt to its end: output and terminal status.
    ///
    /// # Panics
    /// If it is refused, or does not end in time.
    pub async fn run(&mut self, prompt: &str) -> (Vec<u8>, Value) {
        let id = self.start(prompt).await;
        self.wait_terminal(&id).await
    }

    /// Attaches to an execution, from an offset or the beginning. Earlier output of it is forgotten.
    ///
    /// # Panics
    /// If no answer comes in time.
    ///
    /// # Errors
    /// The error object.
    pub async fn attach(&mut self, execution: &str, offset: Option<u64>) -> Result<Value, Value> {
        let mut params = json!({"executionId": execution});
        if let Some(offset) = offset {
            params["offset"] = offset.into();
        }
        self.call("attach", params).await
    }

    /// PAUSE, RESUME or CANCEL.
    ///
    /// # Panics
    /// If no answer comes in time.
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

    /// Waits for the terminal statusUpdate of the present view: the output since its beginning, and the status.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn wait_terminal(&self, execution: &str) -> (Vec<u8>, Value) {
        self.until(&format!("the end of {execution}"), |inner| {
            let last = inner.updates.get(execution)?.last()?;
            let done = super::status::is_terminal(last["state"].as_str()?);
            done.then(|| {
                (
                    inner.outputs.get(execution).cloned().unwrap_or_default(),
                    last.clone(),
                )
            })
        })
        .await
    }

    /// Waits for the terminal statusUpdate of the present view or the end of the session, whichever comes first: the output since the
    /// view's beginning, and the status if it came.
    ///
    /// # Panics
    /// If neither comes in time.
    pub async fn wait_terminal_or_closed(&self, execution: &str) -> (Vec<u8>, Option<Value>) {
        self.until(
            &format!("the end of {execution} or of the session"),
            |inner| {
                let last = inner
                    .updates
                    .get(execution)
                    .and_then(|updates| updates.last());
                let end = last.filter(|last| {
                    last["state"]
                        .as_str()
                        .is_some_and(super::status::is_terminal)
                });
                (end.is_some() || inner.closed.is_some()).then(|| {
                    (
                        inner.outputs.get(execution).cloned().unwrap_or_default(),
                        end.cloned(),
                    )
                })
            },
        )
        .await
    }

    /// Waits for a statusUpdate with this status (in capitals), after the present view began.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn wait_status(&self, execution: &str, status: &str) -> Value {
        self.until(&format!("{status} of {execution}"), |inner| {
            inner
                .updates
                .get(execution)?
                .iter()
                .rev()
                .find(|update| update["status"] == status)
                .cloned()
        })
        .await
    }

    /// Waits for a statusUpdate with this status (in capitals), behind the first `seen` of the view.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn wait_update(&self, execution: &str, seen: usize, status: &str) -> Value {
        self.until(&format!("{status} of {execution}"), |inner| {
            let updates = inner.updates.get(execution)?;
            let mut later = updates.iter().skip(seen);
            later.find(|update| update["status"] == status).cloned()
        })
        .await
    }

    /// Waits until so many bytes of output have come.
    ///
    /// # Panics
    /// If they do not come in time.
    pub async fn wait_output(&self, execution: &str, bytes: u64) -> u64 {
        self.until(&format!("{bytes} bytes of {execution}"), |inner| {
            inner
                .received
                .get(execution)
                .copied()
                .filter(|count| *count >= bytes)
        })
        .await
    }

    /// Waits for a notice with this code.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn wait_notice(&self, code: &str) -> Value {
        self.until(&format!("a notice {code}"), |inner| {
            inner
                .notices
                .iter()
                .find(|notice| notice["code"] == code)
                .cloned()
        })
        .await
    }

    /// Waits for an answer with id null, or a batch of answers; takes it.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn wait_loose(&self) -> Value {
        self.until("an answer without id", |inner| {
            (!inner.loose.is_empty()).then(|| inner.loose.remove(0))
        })
        .await
    }

    /// Waits for the rejection of an execute that had no id; takes it.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn wait_rejection(&self) -> Value {
        self.until("a rejection", |inner| {
            inner.updates.get_mut("").and_then(Vec::pop)
        })
        .await
    }

    /// Waits for the end of the session: its close code (1005 none, 1006 broken off).
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn wait_closed(&self) -> u16 {
        self.until("the close", |inner| inner.closed).await
    }

    /// The output of the present view so far.
    #[must_use]
    pub fn output(&self, execution: &str) -> Vec<u8> {
        self.shared
            .lock()
            .outputs
            .get(execution)
            .cloned()
            .unwrap_or_default()
    }

    /// The bytes of output received so far, also where they are not kept.
    #[must_use]
    pub fn received(&self, execution: &str) -> u64 {
        self.shared
            .lock()
            .received
            .get(execution)
            .copied()
            .unwrap_or_default()
    }

    /// The gaps so far.
    #[must_use]
    pub fn gaps(&self, execution: &str) -> Vec<(u64, u64)> {
        self.shared
            .lock()
            .gaps
            .get(execution)
            .cloned()
            .unwrap_or_default()
    }

    /// The statusUpdates so far, in order.
    #[must_use]
    pub fn updates(&self, execution: &str) -> Vec<Value> {
        self.shared
            .lock()
            .updates
            .get(execution)
            .cloned()
            .unwrap_or_default()
    }

    /// The notices so far.
    #[must_use]
    pub fn notices(&self) -> Vec<Value> {
        self.shared.lock().notices.clone()
    }

    /// The last messages, for a test's own assertions.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.shared.lock().transcript()
    }

    /// All messages so far, in the order in which they were sent and received. Empty without
    /// [`Options::record`]. A sent frame that is no text is not among them.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.lock().recorded.clone().unwrap_or_default()
    }

    /// Says that nothing is owed any more, then closes in order (1000) and waits for the end.
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
        if self.sink.close().await.is_ok() {
            self.wait_closed().await;
        }
    }

    /// Goes away without a word: the connection is dropped.
    pub fn vanish(self) {
        self.task.abort();
    }

    /// Waits until `found` finds something. It is asked again after each message.
    async fn until<T>(&self, what: &str, mut found: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut changes = self.shared.changes();
        let end = Instant::now() + self.options.patience;
        loop {
            changes.mark_unchanged();
            let closed = {
                let mut inner = self.shared.lock();
                if let Some(rule) = inner.violation.take().filter(|_| self.options.strict) {
                    panic!(
                        "a rule of the protocol is broken: {rule}\n{}",
                        inner.transcript()
                    );
                }
                if let Some(found) = found(&mut inner) {
                    return found;
                }
                inner.closed
            };
            let ended = match closed {
                Some(code) => format!("closed with {code}"),
                None => {
                    let left = end.saturating_duration_since(Instant::now());
                    match tokio::time::timeout(left, changes.changed()).await {
                        Ok(_) => continue,
                        Err(_) => "time is up".to_owned(),
                    }
                }
            };
            panic!(
                "waited for {what}; {ended}\n{}",
                self.shared.lock().transcript()
            );
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
        let inner = self.shared.lock();
        if let Some(rule) = inner
            .violation
            .as_ref()
            .filter(|_| self.options.strict && !std::thread::panicking())
        {
            panic!(
                "a rule of the protocol is broken: {rule}\n{}",
                inner.transcript()
            );
        }
    }
}

async fn connect(bridge: SocketAddr, receive_buffer: Option<usize>) -> std::io::Result<TcpStream> {
    let socket = if bridge.is_ipv4() {
        tokio::net::TcpSocket::new_v4()
    } else {
        tokio::net::TcpSocket::new_v6()
    }?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
    }
    let stream = socket.connect(bridge).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
