// A small bridge for tests: one execution with a fixed output, and one fault per connection. The
// examples in the documentation of the library include this file, so it has no inner comments.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use protocol::access::Share;
use protocol::message::{
    Accepted, Capabilities, ClientMessage, Connected, Control, Empty, InputParams, Notification,
    Output, Reply, Request, RequestId, StatusUpdate, StatusWord,
};
use protocol::question::{
    Answered, ClosedBy, ClosedQuestion, Question, QuestionAsked, QuestionClosed, QuestionKind,
};
use protocol::rpc::{RpcError, code};
use protocol::{Events, ExecutionId, Page, State, Status};
use serde::Serialize;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The fault of one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// No fault.
    None,
    /// After this many bytes of output, the connection is closed with this code.
    Close(usize, u16),
    /// After this many bytes of output, the TCP connection ends without a close frame.
    Cut(usize),
    /// The connection ends after the request is received and before the answer.
    CutBeforeAnswer,
    /// After this many bytes of output, nothing is sent or read, including pongs.
    Silent(usize),
    /// A piece of the output is omitted, without a gap.
    Hole,
    /// A byte of the output is wrong.
    Wrong,
    /// The TCP connection ends immediately.
    Refuse,
    /// The connection ends after the question.
    CutAfterQuestion,
}

/// The behaviour of the fake bridge.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) output: Vec<u8>,
    pub(crate) chunk: usize,
    /// One fault per connection; further connections have the last one.
    pub(crate) faults: Vec<Fault>,
    /// The offset of the oldest byte that an attach can get.
    pub(crate) kept_from: usize,
    /// The end of the execution: state, exit code, error.
    pub(crate) end: (State, Option<i32>, Option<&'static str>),
    /// The execution ends only by a cancel.
    pub(crate) until_cancel: bool,
    /// A cancel is answered, but the execution never ends.
    pub(crate) stubborn: bool,
    /// The question of the execution. The output follows its answer.
    pub(crate) question: Option<Question>,
    /// Somebody else answers the question while no client is connected.
    pub(crate) answered_unseen: bool,
    /// The error of every answer.
    pub(crate) refuse_answer: Option<RpcError>,
    /// The error of every execute.
    pub(crate) refuse: Option<RpcError>,
    /// A larger message is answered with a close of code 1009.
    pub(crate) message_bytes: usize,
    /// The `limits` of the greeting.
    pub(crate) limits: Value,
    /// The reason of a close frame.
    pub(crate) close_reason: &'static str,
    /// The execution stays queued, at this position.
    pub(crate) queue_position: Option<u64>,
    /// The output beyond these bytes follows the first request `input`.
    pub(crate) output_before_input: Option<usize>,
    /// The execution ends by the end of the input, or by a cancel.
    pub(crate) until_eof: bool,
    /// The first `input` whose data has a text is refused with the error beside it.
    pub(crate) refuse_input: Vec<(&'static str, RpcError)>,
    /// The `stderrTail` of the terminal status.
    pub(crate) stderr_tail: &'static str,
    /// The executions of a list.
    pub(crate) listed: Option<Vec<Status>>,
    /// The conversation in every status.
    pub(crate) conversation: Option<&'static str>,
    /// An execute gets no answer.
    pub(crate) is_silent: bool,
    /// claude-api is down: an execute gets no answer, and a list is refused.
    pub(crate) is_down: bool,
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
            question: None,
            answered_unseen: false,
            refuse_answer: None,
            refuse: None,
            message_bytes: usize::MAX,
            limits: Value::Null,
            close_reason: "restarting",
            queue_position: None,
            output_before_input: None,
            until_eof: false,
            refuse_input: Vec::new(),
            stderr_tail: "",
            listed: None,
            conversation: None,
            is_silent: false,
            is_down: false,
        }
    }

    /// A plan whose execution first asks whether it may run `rm x`.
    pub(crate) fn asking(output: &str) -> Self {
        let question = Question {
            question_id: "018f4e2a-7b3c-7def-8123-456789abcdef".parse().unwrap(),
            kind: QuestionKind::Permission,
            tool: "Bash".into(),
            display_name: None,
            title: "rm x".into(),
            description: None,
            input: Some(serde_json::json!({"command": "rm x"})),
            input_bytes: 18,
            suggestions: Vec::new(),
            agent_id: None,
            asked_at: "2026-01-02T03:04:06Z".parse().unwrap(),
            expires_at: None,
        };
        Self {
            question: Some(question),
            ..Self::of(output)
        }
    }

    pub(crate) fn faults(mut self, faults: &[Fault]) -> Self {
        self.faults = faults.to_vec();
        self
    }
}

/// A running fake bridge.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<Value>>>,
    /// The requests that [`Fake::wait_for`] has not read.
    pub(crate) unread: mpsc::UnboundedReceiver<Value>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (tx, unread) = mpsc::unbounded_channel();
        let log = requests.clone();
        let answered = Arc::new(AtomicBool::new(false));
        let input = Arc::new(Mutex::new(Input::default()));
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
                    answered: answered.clone(),
                    input: input.clone(),
                    unread: tx.clone(),
                };
                served.spawn(connection.serve(stream));
            }
        });
        Self {
            address,
            requests,
            unread,
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
                let request = self.unread.recv().await.expect("the fake ended");
                if request["method"] == method {
                    return request;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .expect("no such request")
    }

    /// Returns the parameters of all received requests of this method.
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
    /// The question of the plan was answered, on any connection.
    answered: Arc<AtomicBool>,
    /// The input of the execution, over any connection.
    input: Arc<Mutex<Input>>,
    unread: mpsc::UnboundedSender<Value>,
}

/// The input of the execution.
#[derive(Default)]
struct Input {
    /// The count of accepted bytes.
    accepted: u64,
    /// The indices of the entries of `refuse_input` that were used.
    refused: Vec<usize>,
}

type Socket = WebSocketStream<TcpStream>;

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let connected = Connected {
            session_id: "s".to_owned(),
            protocol: protocol::PROTOCOL_VERSION,
            version: "0".to_owned(),
            capabilities: Capabilities::all(),
            limits: serde_json::from_value(self.plan.limits.clone()).unwrap(),
        };
        try_send(&mut socket, connected.to_message()).await;
        let mut viewing = None;
        let mut released = false;
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
            self.unread.send(request.clone()).ok();
            let Ok(ClientMessage {
                id: Some(id),
                request,
            }) = serde_json::from_value(request)
            else {
                panic!("the client sends single requests with ids");
            };
            let plan = &self.plan;
            match request {
                Request::Execute(_) if self.fault == Fault::CutBeforeAnswer => return,
                Request::Execute(_) if plan.is_down || plan.is_silent => {}
                Request::List(_) if plan.is_down => {
                    let (code, reason) = (code::UNAVAILABLE, "claude_api_unreachable");
                    let error = RpcError::new(code, reason, "claude-api cannot be reached");
                    send(&mut socket, &Reply::<Empty>::error(id, error)).await;
                }
                Request::Execute(_) if plan.refuse.is_some() => {
                    let error = plan.refuse.clone().unwrap();
                    send(&mut socket, &Reply::<Empty>::error(id, error)).await;
                }
                Request::Execute(execute) => {
                    viewing = execute.execution_id;
                    if !self.view(&mut socket, id, viewing.unwrap(), 0).await {
                        return;
                    }
                }
                Request::Attach(attach) => {
                    let offset = attach.offset.map(|offset| offset as usize);
                    if offset.is_some_and(|offset| offset < plan.kept_from) {
                        let error = RpcError::new(code::OFFSET_NOT_KEPT, "offset_not_kept", "gone")
                            .with("keptFrom", plan.kept_from);
                        send(&mut socket, &Reply::<Empty>::error(id, error)).await;
                        continue;
                    }
                    viewing = Some(attach.execution_id);
                    let offset = offset.unwrap_or(0);
                    if !self
                        .view(&mut socket, id, attach.execution_id, offset)
                        .await
                    {
                        return;
                    }
                }
                Request::Control(control) => {
                    let execution = control.execution_id.unwrap();
                    let status = self.status(execution, State::Running);
                    send(&mut socket, &Reply::result(id, status)).await;
                    let cancels = control.control == Control::Cancel && !plan.stubborn;
                    if cancels && viewing.is_some() {
                        self.update(&mut socket, execution, State::Cancelled).await;
                    }
                }
                Request::Status(status) => {
                    let status = self.status(status.execution_id.unwrap(), State::Running);
                    send(&mut socket, &Reply::result(id, status)).await;
                }
                Request::List(_) => {
                    let one = "018f4e2a-7b3c-7def-8123-456789abcdef".parse().unwrap();
                    let executions = plan.listed.clone();
                    let page = Page {
                        executions: executions
                            .unwrap_or_else(|| vec![self.status(one, State::Completed)]),
                        next: None,
                    };
                    send(&mut socket, &Reply::result(id, page)).await;
                }
                Request::Events(events) => {
                    let offset = events.offset.unwrap_or(0) as usize;
                    if offset > plan.output.len() {
                        let error = RpcError::new(code::INVALID_PARAMS, "offset_beyond_end", "no")
                            .with("length", plan.output.len());
                        send(&mut socket, &Reply::<Empty>::error(id, error)).await;
                        continue;
                    }
                    let next = plan.output.len().min(offset + events.max_bytes.unwrap());
                    let part = Events {
                        execution_id: events.execution_id,
                        offset: offset as u64,
                        text: String::from_utf8_lossy(&plan.output[offset..next]).into_owned(),
                        next_offset: next as u64,
                        ended: next == plan.output.len(),
                    };
                    send(&mut socket, &Reply::result(id, part)).await;
                }
                Request::Share(_) => {
                    let share: Share = serde_json::from_value(serde_json::json!({
                        "shareId": "018f4e2a-7b3c-7def-8123-456789abcdef",
                        "token": "share_token",
                        "role": "view",
                        "expires": "2026-01-03T03:04:05Z",
                    }))
                    .unwrap();
                    send(&mut socket, &Reply::result(id, share)).await;
                }
                Request::Answer(_) if plan.refuse_answer.is_some() => {
                    let error = plan.refuse_answer.clone().unwrap();
                    send(&mut socket, &Reply::<Empty>::error(id, error)).await;
                }
                Request::Answer(answer) => {
                    let answered = Answered {
                        question_id: answer.question_id,
                        decision: answer.decision,
                        principal: None,
                    };
                    self.answered.store(true, Ordering::Relaxed);
                    send(&mut socket, &Reply::result(id, answered)).await;
                    let closed = QuestionClosed {
                        execution_id: answer.execution_id,
                        closed: ClosedQuestion {
                            question_id: answer.question_id,
                            closed_by: ClosedBy::Answer,
                            decision: Some(answer.decision),
                            principal: None,
                            closed_at: "2026-01-02T03:04:07Z".parse().unwrap(),
                        },
                    };
                    try_send(&mut socket, closed.to_message()).await;
                    if !self.rest(&mut socket, answer.execution_id, 0).await {
                        return;
                    }
                }
                Request::Input(input) => {
                    let execution = input.execution_id.unwrap();
                    match self.accept(&input) {
                        Ok(accepted) => {
                            send(&mut socket, &Reply::result(id, Accepted { accepted })).await;
                        }
                        Err(error) => {
                            send(&mut socket, &Reply::<Empty>::error(id, error)).await;
                        }
                    }
                    if let Some(held) = plan.output_before_input
                        && !std::mem::replace(&mut released, true)
                    {
                        self.output(&mut socket, execution, held, plan.output.len())
                            .await;
                    }
                    if plan.until_eof && input.eof {
                        self.update(&mut socket, execution, plan.end.0).await;
                    }
                }
                Request::Detach(_) | Request::Ping(_) => {
                    send(&mut socket, &Reply::result(id, Empty {})).await;
                }
            }
        }
    }

    /// Answers an execute or attach, and sends the messages of its view. Returns false if the fault
    /// ended the connection.
    async fn view(
        &self,
        socket: &mut Socket,
        id: RequestId,
        execution: ExecutionId,
        offset: usize,
    ) -> bool {
        let status = self.status(execution, State::Queued);
        send(socket, &Reply::result(id, status)).await;
        if self.plan.queue_position.is_some() {
            self.update(socket, execution, State::Queued).await;
            return true;
        }
        self.update(socket, execution, State::Running).await;
        let Some(question) = self.open_question() else {
            return self.rest(socket, execution, offset).await;
        };
        let asked = QuestionAsked {
            execution_id: execution,
            question,
        };
        try_send(socket, asked.to_message()).await;
        self.fault != Fault::CutAfterQuestion
    }

    /// Returns the question of the plan while it is open.
    fn open_question(&self) -> Option<Question> {
        let by_others = self.plan.answered_unseen && self.fault == Fault::None;
        let is_answered = by_others || self.answered.load(Ordering::Relaxed);
        self.plan.question.clone().filter(|_| !is_answered)
    }

    /// Sends the output from an offset, and the end. Returns false if the fault ended the
    /// connection.
    async fn rest(&self, socket: &mut Socket, execution: ExecutionId, offset: usize) -> bool {
        let length = self.plan.output.len();
        let end = self.plan.output_before_input.unwrap_or(length);
        if !self.output(socket, execution, offset, end).await {
            return false;
        }
        if !self.plan.until_cancel && !self.plan.until_eof {
            self.update(socket, execution, self.plan.end.0).await;
        }
        true
    }

    /// Accepts the bytes of an input, or refuses them as the plan says.
    fn accept(&self, input: &InputParams) -> Result<u64, RpcError> {
        let mut state = self.input.lock().unwrap();
        for (at, (text, error)) in self.plan.refuse_input.iter().enumerate() {
            if !state.refused.contains(&at) && input.data.contains(text) {
                state.refused.push(at);
                return Err(error.clone());
            }
        }
        let end = input.offset + input.data.len() as u64;
        if input.offset > state.accepted {
            return Err(RpcError::new(code::INVALID_PARAMS, "input_hole", "a hole"));
        }
        state.accepted = state.accepted.max(end);
        Ok(state.accepted)
    }

    /// Sends the output between two offsets. Returns false if the fault ended the connection.
    async fn output(
        &self,
        socket: &mut Socket,
        execution: ExecutionId,
        offset: usize,
        end: usize,
    ) -> bool {
        let output = &self.plan.output[..end];
        let (mut at, mut sent) = (offset, 0);
        while at < output.len() {
            let to = (at + self.plan.chunk).min(output.len());
            match self.fault {
                Fault::Close(after, code) if sent >= after => {
                    let frame = CloseFrame {
                        code: code.into(),
                        reason: self.plan.close_reason.into(),
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
                let output = Output::new(execution, at as u64, content);
                if !try_send(socket, output.to_message()).await {
                    return false;
                }
            }
            sent += to - at;
            at = to;
        }
        true
    }

    fn status(&self, execution: ExecutionId, state: State) -> Status {
        let created = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut status = Status::queued(execution, created, "default".into());
        status.state = state;
        status.queue_position = self.plan.queue_position;
        status.conversation = self.plan.conversation.map(str::to_owned);
        if !state.is_terminal()
            && let Some(question) = self.open_question()
        {
            status.questions = vec![question.open()];
            status.questions_open = 1;
        }
        if state.is_terminal() {
            let (_, exit_code, error) = self.plan.end;
            status.exit_code = exit_code;
            status.stderr_tail = self.plan.stderr_tail.into();
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
        status
    }

    async fn update(&self, socket: &mut Socket, execution: ExecutionId, state: State) {
        let update = StatusUpdate {
            word: StatusWord::State(state),
            elapsed_ms: 5,
            upstream: None,
            status: self.status(execution, state),
        };
        try_send(socket, update.to_message()).await;
    }
}

async fn send<T: Serialize>(socket: &mut Socket, reply: &Reply<T>) {
    try_send(socket, reply.to_message()).await;
}

async fn try_send(socket: &mut Socket, message: String) -> bool {
    socket.send(Message::text(message)).await.is_ok()
}

/// Returns an address at which no program listens.
pub(crate) async fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("ws://{}/ws", listener.local_addr().unwrap())
}
