//! The handle of a client.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::rpc::{OnSlow, method};
use protocol::{Events, ExecutionId, Page, Status};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::actor::{Actor, Command};
use crate::book::View;
use crate::link::Link;
use crate::{Address, Attach, Connected, Control, Error, Execute, Options, Run};

/// Events that a run buffers; one carries at most 64 KiB of output.
const RUN_EVENTS: usize = 16;

/// A session with a bridge that survives its connections: what was asked and not answered is asked again, and
/// every run goes on at the offset it reached. Dropping the client and its runs closes the connection; no
/// execution ends by that.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    connected: Connected,
    greeting: Utf8Bytes,
    options: Options,
    tokens: AtomicU64,
}

impl Client {
    /// Connects and takes the greeting.
    ///
    /// # Errors
    /// The address is wrong, nobody answers there, or what answers refuses. Only later losses are repaired.
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let address: Address = url.parse()?;
        let link = Box::pin(Link::dial(&address, &options)).await?;
        let (connected, greeting) = (link.connected.clone(), link.greeting.clone());
        let (commands, queue) = mpsc::unbounded_channel();
        tokio::spawn(Actor::new(address, options.clone(), queue).run(link));
        Ok(Self {
            commands,
            connected,
            greeting,
            options,
            tokens: AtomicU64::new(0),
        })
    }

    /// The greeting of the first connection.
    #[must_use]
    pub fn connected(&self) -> &Connected {
        &self.connected
    }

    /// The greeting as it came.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Executes. The run's first event tells whether it was accepted; its id is known at once.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the bridge would not take the message.
    pub fn execute(&self, execute: Execute) -> Result<Run, Error> {
        let params = execute.params();
        let bytes = params.to_string().len() + 128; // the JSON-RPC envelope
        let limit = self.connected.message_bytes();
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        Ok(self.open(execute.id, 0, execute.on_slow, method::EXECUTE, params))
    }

    /// Views an execution that exists, also long after its end.
    #[must_use]
    pub fn attach(&self, attach: Attach) -> Run {
        let offset = attach.offset.unwrap_or(0);
        self.open(
            attach.id,
            offset,
            attach.on_slow,
            method::ATTACH,
            attach.params(),
        )
    }

    fn open(
        &self,
        id: ExecutionId,
        offset: u64,
        on_slow: OnSlow,
        method: &'static str,
        params: Value,
    ) -> Run {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (tx, items) = mpsc::channel(RUN_EVENTS);
        let view = View::new(token, tx, offset, on_slow);
        // If the actor is gone, the channel is closed with it and the run says so.
        let _ = self.commands.send(Command::Open(id, view, method, params));
        Run {
            id,
            token,
            items,
            commands: self.commands.clone(),
            ended: false,
        }
    }

    /// Pauses, resumes or cancels. Repeating it is fine.
    ///
    /// # Errors
    /// The bridge refuses, or does not answer in time.
    pub async fn control(&self, id: ExecutionId, control: Control) -> Result<Status, Error> {
        let params = json!({ "type": control.as_str(), "executionId": id });
        self.ask(method::CONTROL, params).await
    }

    /// The status of one execution.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn status(&self, id: ExecutionId) -> Result<Status, Error> {
        self.ask(method::STATUS, json!({ "executionId": id })).await
    }

    /// The newest executions, or those before one.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn list(&self, limit: u32, before: Option<ExecutionId>) -> Result<Page, Error> {
        let mut params = json!({ "limit": limit });
        if let Some(before) = before {
            params["before"] = json!(before);
        }
        self.ask(method::LIST, params).await
    }

    /// The events of an execution that are there now: the CLI's stdout from a byte offset on, or
    /// from the oldest kept byte, at most `max_bytes` of it.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn events(
        &self,
        id: ExecutionId,
        offset: Option<u64>,
        max_bytes: usize,
    ) -> Result<Events, Error> {
        let mut params = json!({ "executionId": id, "maxBytes": max_bytes });
        if let Some(offset) = offset {
            params["offset"] = offset.into();
        }
        self.ask(method::EVENTS, params).await
    }

    /// Stops viewing; the execution goes on.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn detach(&self, run: Run) -> Result<(), Error> {
        drop(run); // asks for it
        self.ping().await // requests are answered in order enough: the detach went out before
    }

    /// Asks whether the bridge answers.
    ///
    /// # Errors
    /// As [`Client::control`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.call(method::PING, json!({})).await.map(drop)
    }

    /// Sends what is queued and closes the connection; every run of this client ends with [`Error::Closed`].
    pub async fn close(self) {
        let (tx, rx) = oneshot::channel();
        if self.commands.send(Command::Close(tx)).is_ok() {
            let _ = rx.await;
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, Error> {
        let answer = self.call(method, params).await?;
        serde_json::from_str(answer.get())
            .map_err(|e| Error::Protocol(format!("its answer to {method}: {e}")))
    }

    async fn call(&self, method: &'static str, params: Value) -> Result<Box<RawValue>, Error> {
        let (tx, rx) = oneshot::channel();
        self.commands
            .send(Command::Call(method, params, tx))
            .map_err(|_| Error::Closed)?;
        match timeout(self.options.answer_timeout, rx).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::NoAnswer(self.options.answer_timeout)),
        }
    }
}
