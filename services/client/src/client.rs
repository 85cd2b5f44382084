//! The [`Client`] of a bridge, which is the entry point of this crate. It reconnects by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::access::Share;
use protocol::message::{
    AnswerParams, AttachParams, Connected, Control, ControlParams, EventsParams, ExecuteParams,
    ListParams, Method, PingParams, Request, ShareParams, StatusParams,
};
use protocol::question::Answered;
use protocol::rpc::{OnDisconnect, OnSlow};
use protocol::{Answer, Events, ExecutionId, Page, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::command::Command;
use crate::live_connection::{LiveConnection, message_bytes};
use crate::machine::View;
use crate::run::Run;
use crate::task::ClientTask;
use crate::{Address, Error, Options};

/// The number of events that the channel to each [`Run`] can hold. An event has at most 64 KiB of
/// output.
const RUN_EVENTS: usize = 16;

/// A client of a bridge over WebSocket. It runs prompts as executions, streams their output, and
/// pauses, resumes or cancels them.
///
/// After a lost connection the client reconnects by itself. It repeats the requests that have no
/// answer yet, and continues each [`Run`] at the byte that it has reached. Dropping the client and
/// all its runs closes the connection. The executions continue.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    connected: Arc<Connected>,
    greeting: Utf8Bytes,
    options: Options,
    tokens: AtomicU64,
}

impl Client {
    /// Connects to the bridge at this `ws://` or `wss://` address, and reads its greeting.
    ///
    /// If the bridge is busy and asks for a pause (`Retry-After`), waits for it and tries again.
    /// Does so as long as [`Options::give_up`] permits.
    ///
    /// # Errors
    /// [`Error::Address`] if the address is wrong, [`Error::Unreachable`] if no bridge answers in
    /// time, [`Error::Unauthorized`] if the token is missing or wrong, and another error if the
    /// bridge refuses or has another protocol version. Only this first connection reports its
    /// failure here; the client reconnects by itself after it.
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let address: Address = url.parse()?;
        let connection = Box::pin(first_connection(&address, &options)).await?;
        let connected = Arc::clone(&connection.connected);
        let greeting = connection.greeting.clone();
        let (commands, queue) = mpsc::unbounded_channel();
        tokio::spawn(ClientTask::new(address, options.clone(), queue).run(connection));
        Ok(Self {
            commands,
            connected,
            greeting,
            options,
            tokens: AtomicU64::new(0),
        })
    }

    /// Returns the greeting of the bridge, with its version, capabilities and limits. It is the
    /// greeting of the first connection; a reconnect does not update it.
    #[must_use]
    pub fn connected(&self) -> &Connected {
        &self.connected
    }

    /// Returns the greeting of the bridge as JSON text, including members that this crate does not
    /// know. It is the greeting of the first connection; a reconnect does not update it.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Starts an execution of a prompt. The returned run yields the acceptance, the statuses and
    /// the output.
    ///
    /// If the parameters have no id, the client chooses one, so that a request that is repeated
    /// after a lost connection never runs the prompt twice. This function only queues the request.
    /// The first event of the run is the acceptance, or its first error is the refusal by the
    /// bridge.
    ///
    /// `onDisconnect: "cancel"` also holds after a reconnect: the client then sends the request
    /// again before it attaches, because the bridge knows the policy only for one session.
    ///
    /// [`Error::TooLarge`] if the request is larger than the bridge accepts. It is then not sent.
    pub fn execute(&self, mut execute: ExecuteParams) -> Result<Run, Error> {
        let id = execute.ensure_id();
        let (on_slow, on_disconnect) = (execute.on_slow, execute.on_disconnect);
        let request = Request::from(execute);
        let params = serde_json::to_string(&request).unwrap_or_default();
        let bytes = params.len() + 128; // the JSON-RPC envelope
        let limit = message_bytes(&self.connected);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        let renewal = (on_disconnect == OnDisconnect::Cancel).then(|| request.clone());
        Ok(self.open(id, 0, on_slow, request, renewal))
    }

    /// Streams the output and statuses of an existing execution, whether it still runs or has
    /// ended. This function only queues the request. If the bridge does not know the id, the first
    /// call of [`Run::next`] returns the error.
    #[must_use]
    pub fn attach(&self, attach: AttachParams) -> Run {
        let AttachParams {
            execution_id,
            offset,
            on_slow,
        } = attach;
        self.open(
            execution_id,
            offset.unwrap_or(0),
            on_slow,
            attach.into(),
            None,
        )
    }

    /// Opens a view with a request. `renewal` is the request that gives each later session the
    /// policy of the first one.
    fn open(
        &self,
        id: ExecutionId,
        offset: u64,
        on_slow: OnSlow,
        request: Request,
        renewal: Option<Request>,
    ) -> Run {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (tx, items) = mpsc::channel(RUN_EVENTS);
        let view = View::new(token, tx, offset, on_slow).renewed_by(renewal);
        // If the task has ended, the run's channel is closed, and the run reports that.
        let _ = self.commands.send(Command::Open(id, view, request));
        Run {
            id,
            token,
            items,
            commands: self.commands.clone(),
            ended: false,
        }
    }

    /// Pauses, resumes or cancels an execution, and returns its status afterwards. Repeating the
    /// action has no further effect and is no error.
    ///
    /// # Errors
    /// [`Error::Rpc`] if the bridge refuses, [`Error::NoAnswer`] if it does not answer within
    /// [`Options::answer_timeout`], and [`Error::GaveUp`] or [`Error::Closed`] if the connection is
    /// lost for good.
    pub async fn control(&self, id: ExecutionId, control: Control) -> Result<Status, Error> {
        let execution_id = Some(id);
        self.request(ControlParams {
            control,
            execution_id,
        })
        .await
    }

    /// Returns the present status of an execution, whether it still runs or has ended.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn status(&self, id: ExecutionId) -> Result<Status, Error> {
        let execution_id = Some(id);
        self.request(StatusParams { execution_id }).await
    }

    /// Returns one page of the list of executions, newest first. The page has at most `limit`
    /// executions, and only those that were created before the execution `before`. To read the next
    /// page, give [`Page::next`] as `before`.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn list(&self, limit: u32, before: Option<ExecutionId>) -> Result<Page, Error> {
        let limit = Some(limit.into());
        self.request(ListParams {
            limit,
            before,
            workspace: None,
        })
        .await
    }

    /// Returns a part of what the CLI of an execution has written to its stdout so far, normally
    /// JSON lines. The part begins at the byte `offset` and has at most `max_bytes`. Without an
    /// offset, it begins at the oldest byte that claude-api still keeps.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn events(
        &self,
        id: ExecutionId,
        offset: Option<u64>,
        max_bytes: usize,
    ) -> Result<Events, Error> {
        self.request(EventsParams {
            execution_id: id,
            offset,
            max_bytes: Some(max_bytes),
        })
        .await
    }

    /// Creates a token that opens this one execution, for somebody without a token of the operator.
    /// The bridge shows the token only in this answer.
    ///
    /// If the connection is lost before the answer, the request is repeated. An unused share of the
    /// first request may then exist until it expires.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn share(&self, share: ShareParams) -> Result<Share, Error> {
        self.request(share).await
    }

    /// Answers a question of an execution. Any client may answer, not only one with a [`Run`] of
    /// the execution. The answer is stored when this returns.
    ///
    /// If the connection is lost before the result, the request is repeated. The same answer again
    /// has no further effect.
    ///
    /// # Errors
    /// As [`Client::control`]. The code is -32008 if the question was closed before by another
    /// decision; `closedBy`, `decision` and `principal` in the data say how. It is -32602 or -32002
    /// if the answer does not fit the question, and -32005 with the reason `spool_unwritable` if
    /// the answer could not be stored, so that the question is still open.
    pub async fn answer(
        &self,
        id: ExecutionId,
        question: Uuid,
        answer: Answer,
    ) -> Result<Answered, Error> {
        self.request(AnswerParams::new(id, question, answer)).await
    }

    /// Stops the stream of an execution's output, and returns when the bridge has confirmed it. The
    /// execution continues.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn detach(&self, run: Run) -> Result<(), Error> {
        drop(run); // sends the detach
        // The ping is sent after the detach, so its answer follows the answer to the detach.
        self.ping().await
    }

    /// Sends a ping request, and returns when the bridge has answered it.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.request(PingParams {}).await.map(drop)
    }

    /// Sends a JSON-RPC request of any method, for example [`protocol::message::InputParams`], and
    /// returns its result.
    ///
    /// Do not use it for `execute` and `attach`: no [`Run`] would receive their output.
    /// [`Client::execute`] and [`Client::attach`] create one.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn request<P: Method + Into<Request>>(&self, params: P) -> Result<P::Result, Error> {
        let (tx, rx) = oneshot::channel();
        self.commands
            .send(Command::Request(params.into(), tx))
            .map_err(|_| Error::Closed)?;
        let answer = match timeout(self.options.answer_timeout, rx).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => return Err(Error::NoAnswer(self.options.answer_timeout)),
        };
        answer
            .read()
            .map_err(|e| Error::Protocol(format!("bad answer to {}: {e}", P::NAME)))
    }

    /// Sends the queued requests, and closes the connection with a close frame. Every open [`Run`]
    /// of this client ends with [`Error::Closed`]. The executions continue.
    pub async fn close(self) {
        let (tx, rx) = oneshot::channel();
        if self.commands.send(Command::Close(tx)).is_ok() {
            let _ = rx.await;
        }
    }
}

/// Connects for the first time. If the bridge asks for a pause that ends within
/// [`Options::give_up`], waits for it and tries again.
async fn first_connection(address: &Address, options: &Options) -> Result<LiveConnection, Error> {
    let started = Instant::now();
    loop {
        let error = match Box::pin(LiveConnection::connect(address, options)).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match error.retry_after() {
            Some(pause) if started.elapsed() + pause < options.give_up => {
                sleep(pause.max(options.first_delay)).await;
            }
            _ => return Err(error),
        }
    }
}
