//! [`Client`]: the entry point of this crate, a client that reconnects by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::message::{
    AttachParams, Connected, Control, ControlParams, EventsParams, ExecuteParams, ListParams,
    Method, PingParams, Request, StatusParams,
};
use protocol::rpc::OnSlow;
use protocol::{Events, ExecutionId, Page, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::command::Command;
use crate::live_connection::{LiveConnection, message_bytes};
use crate::machine::View;
use crate::run::Run;
use crate::task::ClientTask;
use crate::{Address, Error, Options};

/// The number of events in the channel to each [`Run`]. An event has at most 64 KiB of output.
const RUN_EVENTS: usize = 16;

/// A client of a bridge, which executes prompts, attaches to executions and controls them.
///
/// After a lost connection the client reconnects by itself. It repeats the unanswered requests, and
/// resumes each [`Run`] at the byte that the run has reached. Dropping the client and its runs
/// closes the connection; the executions continue.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    connected: Arc<Connected>,
    greeting: Utf8Bytes,
    options: Options,
    tokens: AtomicU64,
}

impl Client {
    /// Connects to the bridge at this `ws://` address, and reads its greeting.
    ///
    /// # Errors
    /// The address is wrong, no bridge answers, or the bridge refuses. Only this first connection
    /// can fail here: later, the client reconnects.
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let address: Address = url.parse()?;
        let connection = Box::pin(LiveConnection::connect(&address, &options)).await?;
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

    /// Returns the bridge's first message, parsed: its version, capabilities and limits. A
    /// reconnect does not update it.
    #[must_use]
    pub fn connected(&self) -> &Connected {
        &self.connected
    }

    /// Returns the bridge's first message as JSON text, with the members that this crate does not
    /// know. A reconnect does not update it.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Executes a prompt. The returned run yields the answer, the output and the statuses.
    ///
    /// If the parameters have no id, the client chooses one, so that a repeated request never runs
    /// the prompt twice. The request is only queued here: the first event of the run is the
    /// acceptance, or its error the refusal.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the message exceeds the bridge's limit, and is not sent.
    pub fn execute(&self, mut execute: ExecuteParams) -> Result<Run, Error> {
        let id = execute.ensure_id();
        let on_slow = execute.on_slow;
        let request = Request::from(execute);
        let params = serde_json::to_string(&request).unwrap_or_default();
        let bytes = params.len() + 128; // the JSON-RPC envelope
        let limit = message_bytes(&self.connected);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        Ok(self.open(id, 0, on_slow, request))
    }

    /// Receives the output and statuses of an existing execution, live or ended. An unknown id is
    /// an error of the run's first event.
    #[must_use]
    pub fn attach(&self, attach: AttachParams) -> Run {
        let AttachParams {
            execution_id,
            offset,
            on_slow,
        } = attach;
        self.open(execution_id, offset.unwrap_or(0), on_slow, attach.into())
    }

    fn open(&self, id: ExecutionId, offset: u64, on_slow: OnSlow, request: Request) -> Run {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (tx, items) = mpsc::channel(RUN_EVENTS);
        let view = View::new(token, tx, offset, on_slow);
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

    /// Pauses, resumes or cancels an execution, and returns its status. A repeated control changes
    /// nothing and is no error.
    ///
    /// # Errors
    /// The bridge refuses, or does not answer in time ([`Options::answer_timeout`]).
    pub async fn control(&self, id: ExecutionId, control: Control) -> Result<Status, Error> {
        let execution_id = Some(id);
        self.request(ControlParams {
            control,
            execution_id,
        })
        .await
    }

    /// Returns the present status of an execution, live or ended.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn status(&self, id: ExecutionId) -> Result<Status, Error> {
        let execution_id = Some(id);
        self.request(StatusParams { execution_id }).await
    }

    /// Returns the statuses of executions, newest first: at most `limit` of them, and only those
    /// older than `before`. [`Page::next`] is the `before` of the next page.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn list(&self, limit: u32, before: Option<ExecutionId>) -> Result<Page, Error> {
        let limit = Some(limit.into());
        self.request(ListParams { limit, before }).await
    }

    /// Returns at most `max_bytes` of the stdout that the CLI of an execution has written so far,
    /// from the byte `offset` on. Without an offset, begins at the oldest byte that is kept.
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

    /// Stops receiving messages about an execution, and returns when the bridge has confirmed that.
    /// The execution continues.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn detach(&self, run: Run) -> Result<(), Error> {
        drop(run); // sends the detach
        // The ping is sent after the detach, so its answer follows the answer to the detach.
        self.ping().await
    }

    /// Checks that the bridge answers, and waits for its answer.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.request(PingParams {}).await.map(drop)
    }

    /// Sends a request of any method, for example [`protocol::message::InputParams`], and returns
    /// its result.
    ///
    /// Use [`Client::execute`] and [`Client::attach`] for these two methods: with this function no
    /// [`Run`] would receive the output.
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

    /// Sends the queued requests and closes the connection with a close frame. Every open [`Run`]
    /// of this client ends with [`Error::Closed`]; the executions continue.
    pub async fn close(self) {
        let (tx, rx) = oneshot::channel();
        if self.commands.send(Command::Close(tx)).is_ok() {
            let _ = rx.await;
        }
    }
}
