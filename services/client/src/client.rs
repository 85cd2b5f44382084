//! [`Client`]: the handle of a client that reconnects.

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

/// The number of events that a run buffers; one carries at most 64 KiB of output.
const RUN_EVENTS: usize = 16;

/// A client of a bridge that reconnects by itself.
///
/// After a lost connection the client reconnects, repeats the unanswered requests, and resumes each
/// run at its offset. Dropping the client and its runs closes the connection; executions continue.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    connected: Arc<Connected>,
    greeting: Utf8Bytes,
    options: Options,
    tokens: AtomicU64,
}

impl Client {
    /// Connects and reads `connected`.
    ///
    /// # Errors
    /// The address is wrong, no bridge answers, or the bridge refuses. A connection that is lost
    /// later is no error: the client reconnects.
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

    /// Returns the `connected` of the first connection.
    #[must_use]
    pub fn connected(&self) -> &Connected {
        &self.connected
    }

    /// Returns the text of the first message of the first connection.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Executes a prompt and views the execution. If the parameters have no id, the client chooses
    /// one, so that repeating the request never runs the prompt twice.
    ///
    /// The first event of the run says whether the execution was accepted.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the message exceeds the bridge's limit.
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

    /// Views an existing execution, which may have ended.
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

    /// Pauses, resumes or cancels an execution. A repeated control changes nothing.
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

    /// Returns the status of one execution.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn status(&self, id: ExecutionId) -> Result<Status, Error> {
        let execution_id = Some(id);
        self.request(StatusParams { execution_id }).await
    }

    /// Returns a page of executions, newest first: at most `limit`, and only those older than
    /// `before`.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn list(&self, limit: u32, before: Option<ExecutionId>) -> Result<Page, Error> {
        let limit = Some(limit.into());
        self.request(ListParams { limit, before }).await
    }

    /// Returns at most `max_bytes` of the present events of an execution: the CLI's stdout from a
    /// byte offset, or from the oldest kept byte.
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

    /// Ends a view; the execution continues.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn detach(&self, run: Run) -> Result<(), Error> {
        drop(run); // sends the detach
        // The ping is sent after the detach, so its answer follows the answer to the detach.
        self.ping().await
    }

    /// Checks that the bridge answers.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.request(PingParams {}).await.map(drop)
    }

    /// Sends a request of any method and returns its result, for example
    /// [`protocol::message::InputParams`].
    ///
    /// For an execute or attach use [`Client::execute`] and [`Client::attach`]: here, no run would
    /// read the messages of the view.
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

    /// Sends the queued requests and closes the connection. Every run of this client ends with
    /// [`Error::Closed`].
    pub async fn close(self) {
        let (tx, rx) = oneshot::channel();
        if self.commands.send(Command::Close(tx)).is_ok() {
            let _ = rx.await;
        }
    }
}
