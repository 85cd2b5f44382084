// A small bridge for tests: one execution with a fixed output, and one fault per connection. The
// examples in the documentation of the library include this file, so it has no inner comments.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use protocol::rpc::{self, RpcError, code};
use protocol::{State, Status};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What goes wrong on one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// After this many bytes of output: close with this code.
    Close(usize, u16),
    /// After this many bytes of output: the TCP connection just ends.
    Cut(usize),
    /// The request is taken and the connection ends before the answer.
    CutBeforeAnswer,
    /// After this many bytes of output nothing more is sent or read, pongs included.
    Silent(usize),
    /// A piece of the output is left out without a word.
    Hole,
    /// A byte of the output is wrong.
    Wrong,
    /// The TCP connection ends at once.
    Refuse,
}

/// What the fake serves.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) output: Vec<u8>,
    pub(crate) chunk: usize,
    /// One per connection; the last goes on for ever.
    pub(crate) faults: Vec<Fault>,
    /// Bytes before this are gone for an attach.
    pub(crate) kept_from: usize,
    /// How it ends: state, exit code, error.
    pub(crate) end: (State, Option<i32>, Option<&'static str>),
    /// It ends only when cancelled.
    pub(crate) until_cancel: bool,
    /// A CANCEL is answered, but it never ends.
    pub(crate) stubborn: bool,
    /// How an execute is refused.
    pub(crate) refuse: Option<RpcError>,
    /// A larger message is answered with a close of code 1009.
    pub(crate) message_bytes: usize,
    /// The `limits` of the greeting.
    pub(crate) limits: Value,
}

impl Plan {
    pub(crate) fn of(output: &str) -> Self {
        Self {
            output: output.as_bytes().to_vec(),
            chunk: 7,
            faults: vec![Fault::None],
            kept_from: 0,
            end: (State::Completed, Some(0), None),
            until_cancel: false,
            stubborn: false,
            refuse: None,
            message_bytes: usize::MAX,
            limits: Value::Null,
        }
    }

    pub(crate) fn faults(mut self, faults: &[Fault]) -> Self {
        self.faults = faults.to_vec();
        self
    }
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<Value>>>,
    /// Gets each request as it comes.
    pub(crate) seen: mpsc::UnboundedReceiver<Value>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (tx, seen) = mpsc::unbounded_channel();
        let log = requests.clone();
        let task = tokio::spawn(async move {
            let mut connections = 0;
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let fault = *plan.faults.get(connections).or(plan.faults.last()).unwrap();
                connections += 1;
                if fault == Fault::Refuse {
                    continue;
                }
                let connection = Connection {
                    plan: plan.clone(),
                    fault,
                    log: log.clone(),
                    seen: tx.clone(),
                };
                served.spawn(connection.serve(stream));
            }
        });
        Self {
            address,
            requests,
            seen,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Waits for a request of this method.
    pub(crate) async fn wait_for(&mut self, method: &str) -> Value {
        let wait = async {
            loop {
                let request = self.seen.recv().await.expect("the fake ended");
                if request["method"] == method {
                    return request;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .expect("no such request")
    }

    pub(crate) fn params(&self, method: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|r| r["method"] == method)
            .map(|r| r["params"].clone())
            .collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    plan: Plan,
    fault: Fault,
    log: Arc<Mutex<Vec<Value>>>,
    seen: mpsc::UnboundedSender<Value>,
}

type Socket = WebSocketStream<TcpStream>;

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let hello = json!({ "sessionId": "s", "protocol": 1, "version": "0", "capabilities": {}, "limits": self.plan.limits });
        send(&mut socket, &rpc::notification("connected", &hello)).await;
        let mut viewing = None;
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            if text.len() > self.plan.message_bytes {
                let frame = CloseFrame {
                    code: 1009.into(),
                    reason: "too big".into(),
                };
                socket.close(Some(frame)).await.ok();
                return;
            }
            let request: Value = serde_json::from_str(&text).unwrap();
            self.log.lock().unwrap().push(request.clone());
            self.seen.send(request.clone()).ok();
            let (id, params) = (&request["id"], &request["params"]);
            match request["method"].as_str().unwrap() {
                "execute" if self.fault == Fault::CutBeforeAnswer => return,
                "execute" if self.plan.refuse.is_some() => {
                    let error = rpc::error(id, self.plan.refuse.as_ref().unwrap());
                    send(&mut socket, &error).await;
                }
                "execute" | "attach" => {
                    let offset = params["offset"].as_u64().unwrap_or(0) as usize;
                    if params.get("offset").is_some() && offset < self.plan.kept_from {
                        let error = RpcError::new(code::OFFSET_NOT_KEPT, "offset_not_kept", "gone")
                            .with("keptFrom", self.plan.kept_from);
                        send(&mut socket, &rpc::error(id, &error)).await;
                        continue;
                    }
                    let execution = params["executionId"].as_str().unwrap().to_owned();
                    send(
                        &mut socket,
                        &rpc::result(id, self.status(&execution, State::Queued)),
                    )
                    .await;
                    send(&mut socket, &self.update(&execution, State::Running)).await;
                    if !self.output(&mut socket, &execution, offset).await {
                        return;
                    }
                    if !self.plan.until_cancel {
                        send(&mut socket, &self.update(&execution, self.plan.end.0)).await;
                    }
                    viewing = Some(execution);
                }
                "control" => {
                    let execution = params["executionId"].as_str().unwrap();
                    send(
                        &mut socket,
                        &rpc::result(id, self.status(execution, State::Running)),
                    )
                    .await;
                    if params["type"] == "CANCEL" && viewing.is_some() && !self.plan.stubborn {
                        send(&mut socket, &self.update(execution, State::Cancelled)).await;
                    }
                }
                "status" => {
                    let execution = params["executionId"].as_str().unwrap();
                    send(
                        &mut socket,
                        &rpc::result(id, self.status(execution, State::Running)),
                    )
                    .await;
                }
                "list" => {
                    let one = self.status("018f4e2a-7b3c-7def-8123-456789abcdef", State::Completed);
                    send(
                        &mut socket,
                        &rpc::result(id, json!({ "executions": [one], "next": null })),
                    )
                    .await;
                }
                "events" => {
                    let offset = params["offset"].as_u64().unwrap_or(0) as usize;
                    let most = params["maxBytes"].as_u64().unwrap() as usize;
                    let output = &self.plan.output;
                    let next = output.len().min(offset + most);
                    let part = json!({
                        "executionId": params["executionId"], "offset": offset, "nextOffset": next,
                        "text": String::from_utf8_lossy(&output[offset..next]),
                        "ended": next == output.len(),
                    });
                    send(&mut socket, &rpc::result(id, part)).await;
                }
                _ => send(&mut socket, &rpc::result(id, json!({}))).await,
            }
        }
    }

    /// Sends the output from an offset; false when the fault ended the connection.
    async fn output(&self, socket: &mut Socket, execution: &str, offset: usize) -> bool {
        let output = &self.plan.output;
        let (mut at, mut sent) = (offset, 0);
        while at < output.len() {
            let to = (at + self.plan.chunk).min(output.len());
            match self.fault {
                Fault::Close(after, code) if sent >= after => {
                    let frame = CloseFrame {
                        code: code.into(),
                        reason: "restarting".into(),
                    };
                    socket.close(Some(frame)).await.ok();
                    while let Some(Ok(_)) = socket.next().await {}
                    return false;
                }
                Fault::Cut(after) if sent >= after => return false,
                Fault::Silent(after) if sent >= after => std::future::pending().await,
                _ => {}
            }
            let mut content = String::from_utf8(output[at..to].to_vec()).unwrap();
            if self.fault == Fault::Wrong && at == 0 {
                content.replace_range(..1, "#");
            }
            if self.fault != Fault::Hole || at != self.plan.chunk {
                let params = json!({ "executionId": execution, "type": "stdout", "offset": at, "content": content });
                if !try_send(socket, &rpc::notification("output", &params)).await {
                    return false;
                }
            }
            sent += to - at;
            at = to;
        }
        true
    }

    fn status(&self, execution: &str, state: State) -> Value {
        let created = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut status = Status::queued(execution.parse().unwrap(), created, "default".into());
        status.state = state;
        if state.is_terminal() {
            let (_, exit_code, error) = self.plan.end;
            status.exit_code = exit_code;
            status.error = error.map(|message| protocol::ErrorInfo {
                code: "test".into(),
                message: message.into(),
            });
            status.output_bytes = self.plan.output.len() as u64;
            status.duration_ms = Some(1234);
            status.crc32 = Some(protocol::trailers::crc32_text(crc32fast::hash(
                &self.plan.output,
            )));
        }
        serde_json::to_value(status).unwrap()
    }

    fn update(&self, execution: &str, state: State) -> Value {
        let mut params = self.status(execution, state);
        params["status"] = state.as_capitals().into();
        params["elapsedMs"] = 5.into();
        rpc::notification("statusUpdate", &params)
    }
}

async fn send(socket: &mut Socket, message: &Value) {
    try_send(socket, message).await;
}

async fn try_send(socket: &mut Socket, message: &Value) -> bool {
    socket
        .send(Message::text(message.to_string()))
        .await
        .is_ok()
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("ws://{}/ws", listener.local_addr().unwrap())
}
